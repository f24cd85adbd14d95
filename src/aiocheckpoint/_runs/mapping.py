"""The work of `amap`: many given runs, a limited number at once."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.checks import checked_flag, checked_limit
from aiocheckpoint._model.loading import check_policy
from aiocheckpoint._runs.displaying import RunsDisplay
from aiocheckpoint._runs.pairs import checked_pairs, checked_runs
from aiocheckpoint._runs.results import run_result
from aiocheckpoint._runs.streams import Stream, bounded_results

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from concurrent.futures import Executor

    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._model.state_type import Data
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint._runs.flow_methods import FlowMethods
    from aiocheckpoint._runs.pairs import Runs
    from aiocheckpoint._runs.run_sender import RunSender

__all__ = ["map_runs"]


def map_runs(
    flow: FlowMethods[Any],
    core: FlowCore,
    runs: Runs[Any],
    load_policy: LoadPolicy | None,
    *,
    limit: int,
    once: bool,
    progress: object = None,
    executor: Executor | Callable[[], Executor] | None = None,
    lost: int = 3,
    states: bool = True,
    method: str = "amap",
) -> Stream[RunResult[Any]]:
    """Check the arguments of `amap`, or of another method of this name, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
        UnpicklableFlowError: The runs are to be sent, and workers cannot have the flow.
    """
    at_once, keeps_states = checked_limit(limit), checked_flag("states", states)
    check_policy(core.registry.steps, core.request(None, load_policy, once=once).load_policy)

    async def run(pair: tuple[str, Data]) -> RunResult:
        run_id, state = pair
        request = core.request(state, load_policy, once=once, run_id=run_id)
        result = await run_result(core, request, run_id, listener=display.of_run())
        return result if keeps_states else replace(result, state=None)

    display = RunsDisplay(core, progress, runs)
    active_runs = core.settings.active_runs
    pairs = checked_pairs(checked_runs(runs, method), method, active_runs.check)
    if executor is None:
        results = bounded_results(pairs, run, at_once, active_runs)
        return Stream(display.shown(results), of="results")
    # Imported here because most programs send nothing.
    from aiocheckpoint._runs.run_sender import RunSender  # noqa: PLC0415

    sender = RunSender(flow, core, executor, lost=lost, states=keeps_states)
    sender.load_policy, sender.once = load_policy, once
    sent = bounded_results(pairs, _sending(sender, display), at_once, active_runs)
    return Stream(display.shown(_closed_behind(sent, sender)), of="results")


def _sending(
    sender: RunSender, display: RunsDisplay
) -> Callable[[tuple[str, Data]], Awaitable[RunResult]]:
    """Give the function that sends one run, and counts its end in the display."""

    async def send(pair: tuple[str, Data]) -> RunResult:
        begun = time.monotonic()
        result = await sender.result(pair)
        display.hear_end(result, time.monotonic() - begun)
        return result

    return send


async def _closed_behind(
    results: AsyncGenerator[RunResult, None], sender: RunSender
) -> AsyncGenerator[RunResult, None]:
    """Give the results, and close the sender at their end, or where they are wanted no more."""
    try:
        async with aclosing(results):
            async for result in results:
                yield result
    finally:
        await sender.close()
