"""The work of `amap`: many given runs, a limited number at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.loading import check_policy
from aiocheckpoint._runs.displaying import RunsDisplay
from aiocheckpoint._runs.pairs import checked_pairs, checked_runs
from aiocheckpoint._runs.results import run_result
from aiocheckpoint._runs.streams import Stream, bounded_results

if TYPE_CHECKING:
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._model.state_type import Data
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint._runs.pairs import Runs

__all__ = ["map_runs"]


def map_runs(
    core: FlowCore,
    runs: Runs[Any],
    load_policy: LoadPolicy | None,
    *,
    limit: int,
    once: bool,
    progress: object = None,
    method: str = "amap",
) -> Stream[RunResult[Any]]:
    """Check the arguments of `amap`, or of another method of this name, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    at_once = checked_limit(limit)
    check_policy(core.registry.steps, core.request(None, load_policy, once=once).load_policy)

    async def run(pair: tuple[str, Data]) -> RunResult:
        run_id, state = pair
        request = core.request(state, load_policy, once=once, run_id=run_id)
        return await run_result(core, request, run_id, listener=display.of_run())

    display = RunsDisplay(core, progress, runs)
    active_runs = core.settings.active_runs
    pairs = checked_pairs(checked_runs(runs, method), method, active_runs.check)
    results = bounded_results(pairs, run, at_once, active_runs)
    return Stream(display.shown(results), of="results")
