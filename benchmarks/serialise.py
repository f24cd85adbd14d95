"""Speed of the serialiser against dill's and against the C pickler.

    python benchmarks/serialise.py [--rounds N] [--count N] [--json FILE]

All write protocol 5 to memory. "Ours" is what a snapshot's payload goes through, without the
digest and the file. A state of many plain objects is the case that the goal is about; where only
dill can write something in the state, dill writes all of it, after a first try that was in vain.
"""

from __future__ import annotations

import io
import pickle
import time
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
from _measure import Contender, Goal, Pair, Report, measure, parser
from _shapes import dataclasses_of, datetimes, dicts, small_state, values, with_lambda

from aiocheckpoint._serializer import dump, load

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = Goal(30, at_least=True)
SMALL_STATES = 1000


class _Memory(io.BytesIO):
    """Takes a pickle stream."""

    def rewind(self) -> None:
        """Forget all that was written."""
        self.seek(0)
        self.truncate()


def _ours(state: dict[str, Any]) -> bytes:
    memory = _Memory()
    dump(state, memory)
    return memory.getvalue()


def _dill(state: dict[str, Any]) -> bytes:
    written: bytes = dill.dumps(state, 5)
    return written


def _c_pickler(state: dict[str, Any]) -> bytes:
    return pickle.dumps(state, 5)


def _contender(
    name: str, function: Callable[[dict[str, Any]], bytes], state: dict[str, Any], times: int
) -> Contender:
    def milliseconds() -> float:
        begun = time.perf_counter()
        for _ in range(times):
            function(state)
        return (time.perf_counter() - begun) * 1e3

    return Contender(name, milliseconds)


def _pairs(
    what: str,
    state: dict[str, Any],
    *,
    times: int = 1,
    goal: Goal | None = None,
    pickles: bool = True,
) -> list[Pair]:
    assert load(io.BytesIO(_ours(state))).keys() == state.keys()
    ours = _contender(f"ours, {what}", _ours, state, times)
    pairs = [Pair(_contender(f"dill, {what}", _dill, state, times), ours, "ms", goal)]
    if pickles:
        pairs.append(Pair(ours, _contender(f"C pickler, {what}", _c_pickler, state, times), "ms"))
    return pairs


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("Speed of the serialiser.", rounds=9)
    made.add_argument("--count", type=int, default=100_000, help="objects in a state")
    arguments = made.parse_args()
    count, few = arguments.count, max(1, arguments.count // 10)
    pairs = [
        *_pairs(f"{count} plain dicts", dicts(count), goal=GOAL),
        *_pairs(f"{count} plain values", values(count), goal=GOAL),
        *_pairs(f"{SMALL_STATES} times a small state", small_state(), times=SMALL_STATES),
        *_pairs(f"{few} datetimes", datetimes(few)),
        *_pairs(f"{few} dataclass instances", dataclasses_of(few)),
        *_pairs(f"{few} plain dicts, one lambda", with_lambda(few), pickles=False),
    ]
    measure(pairs, arguments.rounds)
    Report("Serialising to memory", pairs).finish(arguments.json)


if __name__ == "__main__":
    main()
