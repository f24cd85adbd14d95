"""Time of the digests in a header: of the state that a run begins with, and of a step's code.

    python benchmarks/digests.py [--rounds N] [--count N] [--json FILE]

A state is digested once for each new run, and again when it is compared with a stored run. The
digest of the small state, ten keys, is to take at most 10 µs. It is compared with the C pickler,
which writes the same state. The digest of a step's code is made once in a process. Its first time
reads, parses and compiles the source, and later times compare the code object.
"""

from __future__ import annotations

import pickle
import secrets
import time
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Pair, Report, measure, parser
from workloads.flows import database
from workloads.shapes import dicts, small_state

from aiocheckpoint._model import code_digest
from aiocheckpoint._model.steps import make_step
from aiocheckpoint._snapshot.initial_state import record_state
from aiocheckpoint._snapshot.signing import make_signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.code_digest import StepCode

TIMES = 200
SIGNER = make_signer(secrets.token_hex(32), "digests")


def _repeated(name: str, call: Callable[[], object], times: int = TIMES) -> Contender:
    """Give the microseconds of one call, of so many in a row."""

    def microseconds() -> float:
        begun = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - begun) / times * 1e6

    return Contender(name, microseconds)


def _of_state(what: str, state: dict[str, Any], times: int) -> list[Pair]:
    plain = _repeated(f"digest of {what}", lambda: record_state(state, None, None), times)
    keyed = _repeated(f"digest of {what}, keyed", lambda: record_state(state, SIGNER, "x"), times)
    pickled = _repeated(f"C pickler, {what}", lambda: pickle.dumps(state, 5), times)
    return [Pair(plain, pickled, "µs"), Pair(keyed, pickled, "µs")]


def _code_of(function: Callable[..., object]) -> StepCode:
    return make_step(function, None, None, name="step", thread=True).code


def _of_code() -> Pair:
    def first() -> str:
        code_digest._KNOWN.clear()  # noqa: SLF001
        return _code_of(database).digest

    known = _code_of(database)
    again = _repeated("digest of a step's code, again", lambda: known.digest)
    return Pair(_repeated("digest of a step's code, first", first, 20), again, "µs")


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("Time of digests.", rounds=15)
    made.add_argument("--count", type=int, default=10_000, help="dicts in the large state")
    arguments = made.parse_args()
    pairs = [
        *_of_state("a small state", small_state(), TIMES),
        *_of_state(f"{arguments.count} dicts", dicts(arguments.count), 1),
        _of_code(),
    ]
    measure(pairs, arguments.rounds)
    Report("Digests in a header", pairs).finish(arguments.json)


if __name__ == "__main__":
    main()
