"""Speed of the serialiser against dill, the C pickler, and cloudpickle where it is installed.

    python benchmarks/serialise.py [--rounds N] [--count N] [--megabytes N] [--json FILE]

All write protocol 5 to memory. "Ours" is the serialiser of a snapshot's payload, without the digest
and the file. Small plain states take a shorter way than others. Each sample is the second of two,
so that no contender pays for memory that another one has returned to the system. The goal is about
a state of many plain objects. If only dill can write an object of the state, dill writes the whole
state, after a first attempt of the C pickler has failed. A class of this script is written by its
name, so that one instance must not slow the rows beside it down. cloudpickle writes functions by
value as well. `pip install -e '.[benchmarks]'` installs it, with pandas and scikit-learn.
"""

from __future__ import annotations

import io
import pickle
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.large import HAS_NUMPY, MEGABYTE, array
from workloads.shapes import dataclasses_of, datetimes, dicts, small_state, values, with_lambda

from aiocheckpoint._snapshot.pickling.serializer import dump, dump_small, load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

GOAL = Goal(40, at_least=True)
SMALL_STATES = 1000
LAMBDAS = 100
PIPELINES = 100
GOAL_BESIDE = Goal(1.3)
DISTRIBUTIONS = {
    "cloudpickle": "cloudpickle",
    "numpy": "numpy",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
}
OTHERS = tuple(name for name in DISTRIBUTIONS if find_spec(name) is not None)
HAS_CLOUDPICKLE = "cloudpickle" in OTHERS


@dataclass
class Settings:
    """A class of the script itself.

    Attributes:
        rate: A number.
        name: A text.
    """

    rate: float = 0.1
    name: str = "settings of a run"


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


def _cloudpickle() -> Callable[[dict[str, Any]], bytes]:
    module: Any = import_module("cloudpickle")
    return partial(module.dumps, protocol=5)


def _contender(
    name: str, function: Callable[[dict[str, Any]], bytes], state: dict[str, Any], times: int
) -> Contender:
    def milliseconds() -> float:
        taken = 0.0
        for _ in range(2):
            begun = time.perf_counter()
            for _ in range(times):
                function(state)
            taken = time.perf_counter() - begun
        return taken * 1e3

    return Contender(name, milliseconds)


def _pairs(
    what: str,
    state: dict[str, Any],
    *,
    times: int = 1,
    goal: Goal | None = None,
    pickles: bool = True,
    way: Callable[[dict[str, Any]], bytes] = _ours,
) -> list[Pair]:
    assert load(io.BytesIO(way(state))).keys() == state.keys()
    ours = _contender(f"ours, {what}", way, state, times)
    pairs = [Pair(_contender(f"dill, {what}", _dill, state, times), ours, "ms", goal)]
    if HAS_CLOUDPICKLE:
        other = _contender(f"cloudpickle, {what}", _cloudpickle(), state, times)
        pairs.append(Pair(other, ours, "ms"))
    if pickles:
        pairs.append(Pair(ours, _contender(f"C pickler, {what}", _c_pickler, state, times), "ms"))
    return pairs


def _beside(count: int) -> Pair:
    """One instance of a class of the script beside rows, against the rows alone."""
    rows = dicts(count)
    plain = _contender(f"ours, {count} plain dicts alone", _ours, rows, 1)
    mixed = rows | {"settings": Settings()}
    own = _contender(f"ours, {count} plain dicts, one instance of the script", _ours, mixed, 1)
    return Pair(own, plain, "ms", GOAL_BESIDE)


def _frame(rows: int) -> dict[str, Any]:
    pandas: Any = import_module("pandas")
    numbers = {f"x{n}": [m / (n + 1) for m in range(rows)] for n in range(4)}
    return {"frame": pandas.DataFrame(numbers | {"name": [f"item {n}" for n in range(rows)]})}


def _pipeline(rows: int) -> dict[str, Any]:
    linear: Any = import_module("sklearn.linear_model")
    making: Any = import_module("sklearn.pipeline")
    scaling: Any = import_module("sklearn.preprocessing")
    pipeline = making.make_pipeline(scaling.StandardScaler(), linear.Ridge())
    return {"model": pipeline.fit([[n, n % 7] for n in range(rows)], list(range(rows)))}


def _pairs_of_libraries(rows: int) -> list[Pair]:
    pairs = list[Pair]()
    if "pandas" in OTHERS:
        pairs += _pairs(f"frame of {rows} rows", _frame(rows))
    if "sklearn" in OTHERS:
        pairs += _pairs(f"{PIPELINES} times a pipeline", _pipeline(rows), times=PIPELINES)
    return pairs


def _all_pairs(count: int, megabytes: int) -> list[Pair]:
    few, kind = max(1, count // 10), "array" if HAS_NUMPY else "bytes"
    return [
        *_pairs(f"{count} plain dicts", dicts(count), goal=GOAL),
        *_pairs(f"{count} plain values", values(count), goal=GOAL),
        *_pairs(
            f"{SMALL_STATES} times a small state",
            small_state(),
            times=SMALL_STATES,
            way=dump_small,
        ),
        *_pairs(f"{kind} of {megabytes} MB", {"array": array(megabytes * MEGABYTE)}),
        *_pairs(f"{few} datetimes", datetimes(few)),
        *_pairs(f"{few} dataclass instances", dataclasses_of(few)),
        _beside(count // 2),
        *_pairs_of_libraries(few),
        *_pairs(f"{few} plain dicts, one lambda", with_lambda(few), pickles=False),
        *_pairs(f"{LAMBDAS} times one lambda", with_lambda(0), times=LAMBDAS, pickles=False),
    ]


def _arguments() -> argparse.Namespace:
    made = parser("Speed of the serialiser.", rounds=9)
    made.add_argument("--count", type=int, default=100_000, help="objects in a state")
    made.add_argument("--megabytes", type=int, default=80, help="size of the array")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    pairs = _all_pairs(arguments.count, arguments.megabytes)
    measure(pairs, arguments.rounds)
    versions = {DISTRIBUTIONS[name]: version(DISTRIBUTIONS[name]) for name in OTHERS}
    notes = [
        f"{DISTRIBUTIONS[name]} is not installed here, so its figures are missing."
        for name in ("pandas", "sklearn")
        if name not in OTHERS
    ]
    Report("Serialising to memory", pairs, versions=versions, notes=notes).finish(arguments.json)


if __name__ == "__main__":
    main()
