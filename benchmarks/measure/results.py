"""The result files of the benchmarks, as the page and the plots need them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from measure.pairs import Goal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Compared", "Result", "Single", "Three", "read_all"]


class Three(NamedTuple):
    """Median and quartiles."""

    p25: float
    median: float
    p75: float

    @classmethod
    def of(cls, spread: dict[str, float]) -> Three:
        """Take them from a file."""
        return cls(spread["p25"], spread["median"], spread["p75"])


@dataclass(frozen=True, slots=True)
class Compared:
    """A subject and what it was measured against.

    Attributes:
        subject: Its name.
        base: The other's name.
        unit: Of both.
        of_subject: Its figures.
        of_base: The other's.
        ratio: Subject / base, round by round.
        goal: What is asked of the ratio, or None.
    """

    subject: str
    base: str
    unit: str
    of_subject: Three
    of_base: Three
    ratio: Three
    goal: Goal | None


@dataclass(frozen=True, slots=True)
class Single:
    """A figure that stands alone.

    Attributes:
        name: What it is.
        unit: Its unit.
        figures: Median and quartiles.
        goal: What is asked of it, or None.
    """

    name: str
    unit: str
    figures: Three
    goal: Goal | None


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a benchmark has written.

    Attributes:
        command: The command.
        day: The day when it was given.
        machine: What it ran on, and versions.
        workload: What was done.
        notes: What must be known to read the figures.
        pairs: What was compared.
        singles: Further figures.
    """

    command: str
    day: str
    machine: str
    workload: str
    notes: tuple[str, ...]
    pairs: tuple[Compared, ...]
    singles: tuple[Single, ...]


def read_all(directory: Path) -> dict[str, Result]:
    """Read all result files of a directory, by name without the ending, in the names' order."""
    return {
        path.stem: _result(json.loads(path.read_text("utf-8")))
        for path in sorted(directory.glob("*.json"))
    }


def _result(found: dict[str, Any]) -> Result:
    return Result(
        found["command"],
        found["when"].partition("T")[0],
        "; ".join(f"{name} {value}" for name, value in found["machine"].items()),
        found["workload"],
        tuple(found["notes"]),
        tuple(map(_compared, found["pairs"])),
        tuple(_singles(found["extra"].items())),
    )


def _compared(pair: dict[str, Any]) -> Compared:
    return Compared(
        pair["subject"],
        pair["base"],
        pair["unit"],
        Three.of(pair["subject_spread"]),
        Three.of(pair["base_spread"]),
        Three.of(pair["ratio_spread"]),
        _goal(pair["goal"]),
    )


def _singles(extra: Iterable[tuple[str, dict[str, Any]]]) -> Iterable[Single]:
    for name, figure in extra:
        yield Single(name, figure["unit"], Three.of(figure["spread"]), _goal(figure.get("goal")))


def _goal(text: str | None) -> Goal | None:
    """Read a goal as it was written: "at most 1.3"."""
    if text is None:
        return None
    found = re.fullmatch(r"(at least|at most) (\S+)", text)
    assert found is not None
    return Goal(float(found[2]), at_least=found[1] == "at least")
