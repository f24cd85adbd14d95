"""Pairs measured in turns, their figures, and the report of a benchmark as table and JSON.

The speed of a machine drifts while a benchmark runs. So the two contenders of a pair are measured
right after each other, and the order alternates from round to round. The ratio is taken round by
round. The table shows the median of these ratios, not the ratio of two medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.host import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Contender", "Goal", "Pair", "Report", "Spread", "measure", "parser"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work that is measured.

    Attributes:
        name: Its name in the table.
        sample: Does the work once and gives its cost in the unit of the pair.
    """

    name: str
    sample: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Goal:
    """The limit of a ratio, or of a single figure.

    Attributes:
        limit: The worst value that meets the goal.
        at_least: Whether more is better. Otherwise less is better.
    """

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"

    def is_met_by(self, ratio: float) -> bool:
        """Whether a ratio is on the good side of the limit."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def verdict(self, ratio: float) -> str:
        """Give the goal, and whether a ratio meets it, for the table."""
        return f"goal: {self}, {'met' if self.is_met_by(ratio) else 'MISSED'}"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of samples, in the unit of the samples."""

    median: float
    p25: float
    p75: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Summarise one sample or more."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        p25, median, p75 = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, p25, p75)

    def __str__(self) -> str:
        return f"{self.median:>10.4g}   {self.p25:>8.4g} to {self.p75:<8.4g}"


@dataclass(slots=True)
class Pair:
    """Two contenders, measured in turns.

    Attributes:
        subject: The contender of interest.
        base: The contender that it is compared with.
        unit: The unit of both contenders' samples.
        goal: The limit of subject / base, or None.
        subject_samples: A sample for each round.
        base_samples: The same of the base, in the same order.
        remark: One line that a reader needs to compare the two.
    """

    subject: Contender
    base: Contender
    unit: str
    goal: Goal | None = None
    subject_samples: list[float] = field(default_factory=list[float])
    base_samples: list[float] = field(default_factory=list[float])
    remark: str = ""

    def sample_both(self, *, base_first: bool) -> None:
        """Take one sample of each."""
        if base_first:
            self.base_samples.append(self.base.sample())
            self.subject_samples.append(self.subject.sample())
        else:
            self.subject_samples.append(self.subject.sample())
            self.base_samples.append(self.base.sample())

    def ratios(self) -> list[float]:
        """Subject / base, round by round."""
        pairs = zip(self.subject_samples, self.base_samples, strict=True)
        return [subject / base for subject, base in pairs]

    def lines(self) -> list[str]:
        """Give the three lines of the table, and the remark if there is one."""
        ratio = Spread.of(self.ratios())
        verdict = "" if self.goal is None else self.goal.verdict(ratio.median)
        return [
            f"{self.subject.name:<46} {self.unit:>4} {Spread.of(self.subject_samples)}",
            f"  against {self.base.name:<36} {self.unit:>4} {Spread.of(self.base_samples)}",
            f"  {'ratio':<44} {'':>4} {ratio} {verdict}".rstrip(),
            *([f"  {self.remark}"] if self.remark else []),
        ]

    def as_json(self) -> dict[str, Any]:
        """Give all figures and the samples behind them."""
        return {
            "subject": self.subject.name,
            "base": self.base.name,
            "unit": self.unit,
            "subject_spread": _spread_as_json(self.subject_samples),
            "base_spread": _spread_as_json(self.base_samples),
            "ratio_spread": _spread_as_json(self.ratios()),
            "goal": None if self.goal is None else str(self.goal),
            "subject_samples": [_short(sample) for sample in self.subject_samples],
            "base_samples": [_short(sample) for sample in self.base_samples],
        } | ({"remark": self.remark} if self.remark else {})


def measure(pairs: Iterable[Pair], rounds: int, *, warm_ups: int = 1, freeze: bool = True) -> None:
    """Sample every pair in each round, so that all meet the same drift of the machine.

    Args:
        pairs: The pairs. They collect the samples.
        rounds: How many samples of each contender to keep.
        warm_ups: How many to throw away before.
        freeze: Whether to exclude all objects of the imports from garbage collection, since they
            are no part of any contender's work. False where its pauses are measured too.
    """
    pairs = list(pairs)
    for _ in range(warm_ups):
        for pair in pairs:
            pair.subject.sample()
            pair.base.sample()
    gc.collect()
    if freeze:
        gc.freeze()
    for number in range(rounds):
        for pair in pairs:
            pair.sample_both(base_first=number % 2 == 0)


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of a benchmark, to print and to keep.

    Attributes:
        workload: The work of a sample, in words.
        pairs: The figures.
        directory: Where files were written, if any were.
        versions: Versions of the compared libraries, by name.
        extra: Further figures by name, with their unit and samples.
        notes: Sentences that a reader of the figures needs. They are printed below.
        goals: Limits of further figures, by name.
    """

    workload: str
    pairs: Sequence[Pair]
    directory: Path | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])
    extra: Mapping[str, tuple[str, Sequence[float]]] = field(
        default_factory=dict[str, tuple[str, "Sequence[float]"]]
    )
    notes: Sequence[str] = ()
    goals: Mapping[str, Goal] = field(default_factory=dict[str, Goal])

    def finish(self, json_path: Path | None, more: Mapping[str, Any] | None = None) -> None:
        """Print the table, and write the JSON where a path is given.

        Args:
            json_path: Where to write it.
            more: Further entries of the JSON, by key.
        """
        known = machine(self.directory) | self.versions
        print("; ".join(f"{name} {value}" for name, value in known.items()))
        print(self.workload)
        print(f"{'':<46} {'unit':>4} {'median':>10}   {'quartiles':^20}")
        for pair in self.pairs:
            print(*pair.lines(), sep="\n")
        for name, (unit, samples) in self.extra.items():
            print(self._line(name, unit, Spread.of(samples)))
        for note in self.notes:
            print(f"Note: {note}")
        if json_path is not None:
            written = self._as_json(known) | dict(more or {})
            json_path.write_text(json.dumps(written, indent=1) + "\n", "utf-8")

    def _line(self, name: str, unit: str, spread: Spread) -> str:
        verdict = self.goals[name].verdict(spread.median) if name in self.goals else ""
        return f"{name:<46} {unit:>4} {spread} {verdict}".rstrip()

    def _as_json(self, known: dict[str, str]) -> dict[str, Any]:
        return {
            "command": _command(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": known,
            "workload": self.workload,
            "notes": list(self.notes),
            "pairs": [pair.as_json() for pair in self.pairs],
            "extra": {
                name: {"unit": unit, "spread": _spread_as_json(samples)} | self._goal(name)
                for name, (unit, samples) in self.extra.items()
            },
        }

    def _goal(self, name: str) -> dict[str, str]:
        return {"goal": str(self.goals[name])} if name in self.goals else {}


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Make a parser of the arguments that every benchmark takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=rounds, help="samples to keep of each figure")
    made.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return made


def _command() -> str:
    script = Path(sys.argv[0])
    return " ".join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]])


def _spread_as_json(samples: Sequence[float]) -> dict[str, float]:
    spread = Spread.of(samples)
    named = {"median": spread.median, "p25": spread.p25, "p75": spread.p75}
    return {name: _short(value) for name, value in named.items()}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
