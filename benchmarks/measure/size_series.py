"""The same cost at sizes of ever ten times as much, and the power of the size that fits it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measure.pairs import Contender, Goal, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


__all__ = ["SizeSeries", "exponent", "tenfold_sizes"]


def tenfold_sizes(least: int, most: int) -> Iterator[int]:
    """Give a number, and always ten times as much, up to the most."""
    while least <= most:
        yield least
        least *= 10


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Give the slope of the straight line that fits the logarithms of sizes and costs best.

    0 is a cost that does not grow, 1 one that is proportional to the size.
    """
    sizes, costs = zip(*points, strict=True)
    fit = statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    )
    return fit.slope


@dataclass(frozen=True, slots=True)
class SizeSeries:
    """Pairs of the sizes, smallest first.

    Attributes:
        what: The quantity that grows, such as "steps".
        pairs: The pair of each size.
        least: The size of the common base, where it is of the same kind. Otherwise 0.
        own_bases: Whether each size has a base of its own, whose cost grows too.
    """

    what: str
    pairs: Mapping[int, Pair]
    least: int = 0
    own_bases: bool = False

    @classmethod
    def over(
        cls,
        what: str,
        base: Contender,
        least: int,
        costs: Mapping[int, Callable[[], float]],
        unit: str,
    ) -> SizeSeries:
        """Pair sizes with the same base; the largest must not cost more than a tenth more."""
        goals = {max(costs): Goal(1.1)}
        pairs = {
            size: Pair(Contender(f"{size} {what}", cost), base, unit, goals.get(size))
            for size, cost in costs.items()
        }
        return cls(what, pairs, least)

    def fits(self) -> Iterator[tuple[str, tuple[str, list[float]]]]:
        """Give name, unit and samples of the exponents, one for each round."""
        subjects = {size: pair.subject_samples for size, pair in self.pairs.items()}
        bases = {size: pair.base_samples for size, pair in self.pairs.items()}
        if self.least:
            subjects = {self.least: next(iter(bases.values()))} | subjects
        yield f"exponent, {self.what}", ("", _exponents(subjects))
        if self.own_bases:
            yield f"exponent, floor of {self.what}", ("", _exponents(bases))


def _exponents(samples: Mapping[int, Sequence[float]]) -> list[float]:
    rounds = zip(*samples.values(), strict=True)
    return [exponent(list(zip(samples, costs, strict=True))) for costs in rounds]
