"""Draining a flow: on a loop, in a thread or a signal handler, and at the end of `async with`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.backends import AsyncBackend, run_blocking
from aiocheckpoint._concurrency.executors import AsyncExecutor
from aiocheckpoint._concurrency.stalls import abandon_if_stalled
from aiocheckpoint._concurrency.threads import SNAPSHOTS, call_store, run_in_thread
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._logging import log_drain_not_noted
from aiocheckpoint.errors import NoThreadError
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["close_flow", "drain_async", "drain_blocking", "open_flow"]

_SECONDS_IF_CANCELLED = 5.0
"""A cancelled block gives steps some time to end, and does not wait for one that hangs."""


async def drain_async(core: FlowCore, seconds: float | None) -> list[str | None]:
    """Drain the flow, or wait for a drain that was requested before, on the running loop.

    Raises:
        DrainingError: The caller is one of the runs that it would wait for.
    """
    active_runs = core.settings.active_runs
    active_runs.check_outside()
    backend = AsyncBackend(AsyncExecutor(active_runs.step_threads, core.store_threads))
    return await _drain(core, active_runs, backend, seconds)


def drain_blocking(core: FlowCore, seconds: float | None) -> list[str | None]:
    """Drain the flow and block this thread, or only ask for it if a run needs this thread."""
    active_runs = core.settings.active_runs
    if active_runs.needs_this_thread():
        _request(core, active_runs)
        return [run.run_id for run in active_runs.living()]
    return run_blocking(lambda backend: _drain(core, active_runs, backend, seconds))


async def open_flow(core: FlowCore) -> None:
    """Open the flow, and its handler anew if it was drained. Behind an error it stays drained.

    Raises:
        InvalidValueError: It is open.
        CheckpointError: The handler cannot be closed.
    """
    lifespans = core.settings.lifespans
    is_drained = lifespans.open()
    if not is_drained:
        return
    try:
        # So that the note of the drain, which a database has of its owner, ends with the owner.
        await _close_handler(core)
        lifespans.renew()
    except BaseException:
        lifespans.close()
        raise


async def close_flow(core: FlowCore, error: BaseException | None) -> None:
    """Drain the flow at the end of its block, and close its handler if all runs have ended.

    Args:
        core: The core of the flow.
        error: The exception that ended the block, or None.

    Raises:
        DrainingError: The block is in one of the runs that the drain would wait for.
        CheckpointError: The handler cannot be closed.
    """
    try:
        if isinstance(error, GeneratorExit):  # The coroutine is closed, and may not await.
            _request(core, core.settings.active_runs)
            core.step_threads.abandon()
            return
        is_ordinary = error is None or isinstance(error, Exception)
        await drain_async(core, None if is_ordinary else _SECONDS_IF_CANCELLED)
        # Not by its answer: runs that an earlier drain left may have ended by now.
        if not core.settings.active_runs.living():
            if core.settings.pools.are_used:
                await run_in_thread(core.store_threads, core.settings.pools.close)
            await _close_handler(core)
    finally:
        core.settings.lifespans.close()


async def _close_handler(core: FlowCore) -> None:
    if moves_snapshots(core.handler):
        await call_store(core.store_threads, core.handler.close_unused)


async def _drain(
    core: FlowCore, active_runs: ActiveRuns, backend: Backend, seconds: float | None
) -> list[str | None]:
    """Request the drain, and wait. A sync step that hangs keeps neither its task nor the process.

    Nor does a store that hangs, unless it is SQLite, or local files, whose threads all flows
    share.
    """
    note = _request(core, active_runs)
    left = await active_runs.drain.wait(backend, seconds)
    active_runs.tell_end()
    if not left and note is not None:
        note.drop()  # Runs that have ended need none, and the store may hang.
    if left and core.store_threads is not SNAPSHOTS:
        await abandon_if_stalled(core.store_threads, backend.sleep)
    return left


def _request(core: FlowCore, active_runs: ActiveRuns) -> WorkItem[None] | None:
    """Ask all runs to stop, and let a thread note that the flow drains. Return at once."""
    if not active_runs.request_drain():
        return None
    run_ids = [run.run_id for run in active_runs.living()]
    if not run_ids or not moves_snapshots(core.handler):
        return None
    note: WorkItem[None] = WorkItem(_note_draining, (core, run_ids), None)
    try:
        core.store_threads.put(note)
    except NoThreadError as error:
        note.drop()
        log_drain_not_noted(core.settings.flow, error)
    return note


def _note_draining(core: FlowCore, run_ids: list[str | None]) -> None:
    """Let the starts of these runs not count if the process is killed from now on."""
    try:
        core.handler.note_draining(run_ids)
    except Exception as error:  # noqa: BLE001 - the drain goes on without the note
        log_drain_not_noted(core.settings.flow, error)
