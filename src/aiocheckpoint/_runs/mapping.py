"""The work of `amap`: many given runs, a limited number at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.plan import check_policy
from aiocheckpoint._runs.results import run_result
from aiocheckpoint._runs.streams import Stream, bounded_results
from aiocheckpoint.errors import InvalidTypeError
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["Runs", "map_runs"]

State = dict[str, Any]
Runs = Mapping[str, State] | Iterable[tuple[str, State]] | AsyncIterable[tuple[str, State]]
"""States by run id, in a mapping, or as pairs from an iterable, sync or async."""


def map_runs(
    core: FlowCore, runs: Runs, load_policy: LoadPolicy, *, limit: int, once: bool
) -> Stream[RunResult]:
    """Check the arguments of `amap`, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    at_once = checked_limit(limit)
    check_policy(core.registry.steps, load_policy)
    core.request(None, load_policy, once=once)

    async def run(pair: tuple[str, State]) -> RunResult:
        run_id, state = pair
        return await run_result(core, core.request(state, load_policy, once=once), run_id)

    active_runs = core.settings.active_runs
    pairs = _checked_pairs(_checked_runs(runs), active_runs)
    return Stream(bounded_results(pairs, run, at_once, active_runs), of="results")


async def _checked_pairs(
    runs: Runs, active_runs: ActiveRuns
) -> AsyncGenerator[tuple[str, State], None]:
    """Give the pairs of run id and state one by one.

    Raises:
        DrainingError: The flow is being drained. Runs of earlier pairs may have begun.
        InvalidTypeError: An item is no such pair.
    """
    active_runs.check()
    if isinstance(runs, AsyncIterable):
        async for pair in runs:
            yield _checked_pair(pair)
            active_runs.check()
        return
    for pair in runs.items() if isinstance(runs, Mapping) else runs:
        yield _checked_pair(pair)
        active_runs.check()


def _checked_runs(runs: Any) -> Runs:  # noqa: ANN401 - any argument of a user
    """Give `runs` back if it is an iterable. The items of a mapping are checked at once.

    Raises:
        InvalidTypeError, InvalidValueError: It is none, or a mapping holds other items than
            states by run id.
    """
    if isinstance(runs, Mapping):
        for run_id, state in cast("Mapping[object, object]", runs).items():
            _checked_pair((run_id, state))
            checked_run_id(cast("str", run_id))
    elif isinstance(runs, (str, bytes)) or not isinstance(runs, (Iterable, AsyncIterable)):
        raise InvalidTypeError(
            "amap() takes a dict of states by run id, or an iterable, sync or async, of pairs "
            f"(run_id, state), not a {type(runs).__name__}."
        )
    return cast("Runs", runs)


def _checked_pair(pair: object) -> tuple[str, State]:
    if isinstance(pair, tuple):
        parts = cast("tuple[object, ...]", pair)
        if len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], dict):  # noqa: PLR2004
            return cast("tuple[str, State]", parts)
        found = f"({', '.join(type(part).__name__ for part in parts)})"
    else:
        found = f"a {type(pair).__name__}"
    raise InvalidTypeError(
        f"amap() takes pairs of a run id and a state, a str and a dict, not {found}."
    )
