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

__all__ = ["Compared", "Quartiles", "Result", "Single", "read_all"]


class Quartiles(NamedTuple):
    """Median and quartiles."""

    p25: float
    median: float
    p75: float

    @classmethod
    def of(cls, spread: dict[str, float]) -> Quartiles:
        """Read the three from a result file."""
        return cls(spread["p25"], spread["median"], spread["p75"])


@dataclass(frozen=True, slots=True)
class Compared:
    """A subject and its base.

    Attributes:
        subject: Name of the subject.
        base: Name of the base.
        unit: Unit of both.
        of_subject: Figures of the subject.
        of_base: Figures of the base.
        ratio: Subject / base, round by round.
        goal: The limit of the ratio, or None.
    """

    subject: str
    base: str
    unit: str
    of_subject: Quartiles
    of_base: Quartiles
    ratio: Quartiles
    goal: Goal | None


@dataclass(frozen=True, slots=True)
class Single:
    """A figure without a base.

    Attributes:
        name: Its name.
        unit: Its unit.
        figures: Median and quartiles.
        goal: Its limit, or None.
    """

    name: str
    unit: str
    figures: Quartiles
    goal: Goal | None


@dataclass(frozen=True, slots=True)
class Result:
    """The result file of one run of a benchmark.

    Attributes:
        command: The command.
        day: The day when it was given.
        version: The version of aiocheckpoint, or nothing if the file does not name it.
        machine: The host and the versions.
        workload: The work of a sample, in words.
        notes: Sentences that a reader of the figures needs.
        pairs: The comparisons.
        singles: Further figures.
    """

    command: str
    day: str
    version: str
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
        found["machine"].get("aiocheckpoint", ""),
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
        Quartiles.of(pair["subject_spread"]),
        Quartiles.of(pair["base_spread"]),
        Quartiles.of(pair["ratio_spread"]),
        _goal(pair["goal"]),
    )


def _singles(extra: Iterable[tuple[str, dict[str, Any]]]) -> Iterable[Single]:
    for name, figure in extra:
        yield Single(
            name, figure["unit"], Quartiles.of(figure["spread"]), _goal(figure.get("goal"))
        )


def _goal(text: str | None) -> Goal | None:
    """Read a goal as it was written: "at most 1.3"."""
    if text is None:
        return None
    found = re.fullmatch(r"(at least|at most) (\S+)", text)
    assert found is not None
    return Goal(float(found[2]), at_least=found[1] == "at least")
