"""Stores the snapshots of one run, and emits what they cost."""

from __future__ import annotations

import time
from asyncio import CancelledError
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.threads import AbandonedCallError
from aiocheckpoint._engine.around import run_inside_managers
from aiocheckpoint._engine.resume_call import storing_call
from aiocheckpoint._logging import LARGE_BYTES, warn_large
from aiocheckpoint._model.interactive import is_interactive
from aiocheckpoint._snapshot.keys import DATA_KEY
from aiocheckpoint._snapshot.pickling.sizes import find_largest
from aiocheckpoint.errors import UnserializableStateError
from aiocheckpoint.events import SnapshotStarted, SnapshotWritten

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.header import Status

__all__ = ["SnapshotWriter"]


class SnapshotWriter:
    """Stores the snapshots of one run.

    Args:
        context: The run. Its header becomes that of the snapshot.
    """

    def __init__(self, context: RunContext) -> None:
        self._context, self._run_store = context, context.run_store
        self._names = context.steps.names
        self._is_large = self._names.listed is None
        self._warned_of_size = False

    async def write(
        self,
        state: dict[str, Any],
        step: str | None,
        status: Status,
        position: int,
        stopped_by: str | None = None,
    ) -> None:
        """Store a snapshot behind a step, or behind none."""
        began, context = time.perf_counter(), self._context
        excerpt = None
        if self._is_large:
            excerpt = self._names.excerpt(position, finished=status == "finished")
        pause = context.header.pause if step is None and status == "running" else None
        context.header = context.header.next(status, position, time.time(), excerpt)
        if stopped_by is not None or pause is not None:
            context.header = replace(context.header, stopped_by=stopped_by, pause=pause)
        if context.settings.keep_data:
            size = await self._write_with_data(state, step)
        else:
            size = await self._store(state, step)
        seconds = time.perf_counter() - began
        if step is not None:
            context.header.record_snapshot(step, size, seconds)
        if size >= LARGE_BYTES and not self._warned_of_size:
            self._warned_of_size = True
            await self._warn_large(state, size)
        if context.dispatcher.is_heard or context.dispatcher.known:
            await self.emit_written(size, seconds)

    async def write_within(
        self,
        state: dict[str, Any],
        step: str | None,
        status: Status,
        position: int,
        stopped_by: str | None = None,
    ) -> None:
        """Do as `write`, inside the context managers of `around=`."""
        event = self._context.dispatcher.make(SnapshotStarted, position=position, step=step)
        work = self.write(state, step, status, position, stopped_by)
        cancellation = await run_inside_managers(
            self._context, "snapshot", event, work, even_if_cancelled=True
        )
        if cancellation is not None:
            raise cancellation

    async def _warn_large(self, state: dict[str, Any], size: int) -> None:
        context, keeps_data = self._context, self._context.header.holds_data
        places = {"state": state, "data": context.data} if keeps_data else {"state": state}
        largest = await context.backend.run(find_largest, places)
        warn_large(context.header, size, self._run_store.location, largest)

    async def _write_with_data(self, state: dict[str, Any], step: str | None) -> int:
        """Write state and data into one pickle, which keeps the objects that they share shared."""
        context, header = self._context, self._context.header
        holds = not header.finished and (step is not None or header.holds_data)
        context.header = replace(header, holds_data=holds)
        if holds:
            state[DATA_KEY] = context.data
        try:
            return await self._store(state, step)
        finally:
            state.pop(DATA_KEY, None)

    async def _store(self, state: dict[str, Any], step: str | None, *, again: bool = False) -> int:
        """Store a snapshot. That of a finished step is stored though a cancellation withdrew it."""
        context = self._context
        sequence, transaction = context.header.sequence, context.transaction
        store = self._run_store if transaction is None or step is None else transaction
        try:
            drops = step is not None and context.cursors.is_stored
            return await store.write(context.header, state, step, drops_progress=drops)
        except UnserializableStateError as error:
            raise self._explained(error, state) from error.__cause__
        except CancelledError as caught:
            stored = self._run_store.header
            written = stored is not None and stored.sequence == sequence
            if isinstance(caught.__cause__, UnserializableStateError):
                caught.__cause__ = self._explained(caught.__cause__, state)
            runs_on = isinstance(caught, AbandonedCallError)
            if step is None or again or written or runs_on or caught.__cause__ is not None:
                raise
            cancellation = caught
        return await self._context.backend.finish(
            self._store(state, step, again=True), cancellation, needs_store=True
        )

    def _explained(
        self, error: UnserializableStateError, state: dict[str, Any]
    ) -> UnserializableStateError:
        """The error with what the step made, or with the step whose pause `update=` answers."""
        if error.step is not None and self._context.transaction is not None:
            return error  # The step's own SQL is rolled back, so its state must not be stored.
        if error.step is None:
            header, names = self._context.header, self._names.all
            if self._context.request.update is None or header.position == len(names):
                return error
            paused_step = names[header.position]
            return UnserializableStateError(None, error.offenders, paused_step=paused_step)
        made = dict(state) if DATA_KEY in state else state
        call, at_prompt = storing_call(self._context), is_interactive()
        return UnserializableStateError(
            error.step, error.offenders, state=made, call=call, at_prompt=at_prompt
        )

    async def emit_written(self, size: int, seconds: float) -> None:
        """Emit that the snapshot of the present header is stored."""
        facts = {"position": self._context.header.position, "bytes": size, "seconds": seconds}
        await self._context.dispatcher.emit(SnapshotWritten, **facts)
