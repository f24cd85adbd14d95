"""Stores runs that are to be worked off later, each durably, without running a step."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.for_each import for_each
from aiocheckpoint._engine.conflicts import check_plain, check_submitted
from aiocheckpoint._engine.dispatch import EventDispatcher
from aiocheckpoint._engine.locking import Patience, hold_lock
from aiocheckpoint._engine.opening import new_header
from aiocheckpoint._logging import RunPlace, log_skipped
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.plan import make_plan
from aiocheckpoint._model.submission import is_to_be_queued
from aiocheckpoint._snapshot.keys import POSITION_KEY, check_reserved_keys, has_reserved_keys
from aiocheckpoint.errors import CheckpointError, RunInProgressError, UnserializableStateError
from aiocheckpoint.events import RunSubmitted
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.context import FlowSettings
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["Submitter", "announce"]

State = dict[str, Any]

_LOOK_SECONDS, _MOST_SECONDS = 0.25, 10.0
"""How long one claim waits for the lock of a run, and all claims. A run that begins or ends at this
moment is soon to be seen as one or the other."""

_AT_ONCE = 32
"""How many runs are stored under their locks at the same time on a loop."""


class Submitter:
    """Stores the runs of one call of `submit`.

    Args:
        settings: The settings of the flow.
        steps: Its steps.
        handler: Its handler.
        request: The request of each run, without a state.
        backend: Does the blocking work.
        due: Seconds since the epoch before which the runs are not begun, or None.

    Raises:
        FlowDefinitionError: The flow has no steps.
    """

    def __init__(
        self,
        settings: FlowSettings,
        steps: Steps,
        handler: StateHandler,
        request: Request,
        *,
        backend: Backend,
        due: float | None,
    ) -> None:
        make_plan(steps, None, replace(request, state={}), handler.locate())
        self._settings, self._steps, self._handler = settings, steps, handler
        self._request, self._backend, self._due = request, backend, due
        self._of_new_runs = new_header(settings, steps, None, None)

    async def store(self, pairs: Sequence[tuple[str, State]]) -> list[Header | CheckpointError]:
        """Store runs, and give for each the stored header, or the error.

        New runs are stored together, where the store can do so.
        """
        results: dict[int, Header | CheckpointError] = {}
        valid: dict[int, tuple[str, State]] = {}
        for index, (run_id, state) in enumerate(pairs):
            try:
                name = cast("str", checked_run_id(run_id))
                checked = await self._checked(state) if self._needs_check(state) else state
                valid[index] = name, checked
            except CheckpointError as error:
                results[index] = error
        await self._store_new(valid, results)

        async def store_one(index: int) -> None:
            try:
                results[index] = await self._store_under_lock(*valid[index])
            except CheckpointError as error:
                results[index] = error

        left = [index for index in valid if index not in results]
        await for_each(_each(left), store_one, at_once=_AT_ONCE, loop=self._backend.loop)
        return [_named(run_id, results[index]) for index, (run_id, _) in enumerate(pairs)]

    def _needs_check(self, state: State) -> bool:
        """Whether the state needs a check, or a change, before it is stored."""
        return self._settings.conflict == "raise" or has_reserved_keys(state)

    async def _checked(self, state: State) -> State:
        """The state as it is stored, without the key of the position.

        Raises:
            InvalidValueError: A reserved key holds a value.
            InvalidTypeError: Under `conflict="raise"`, it holds something else than plain data.
        """
        check_reserved_keys(state, "the state")
        if self._settings.conflict == "raise":
            await check_plain(replace(self._request, state=state), self._settings, self._backend)
        if POSITION_KEY not in state:
            return state
        return {key: value for key, value in state.items() if key != POSITION_KEY}

    async def _store_new(
        self,
        valid: dict[int, tuple[str, State]],
        results: dict[int, Header | CheckpointError],
    ) -> None:
        """Store the runs of which nothing is stored, and set their results."""
        # Of two states for one run, the first is stored, and the second compared with it.
        new: dict[str, int] = {}
        for index, (run_id, _) in valid.items():
            new.setdefault(run_id, index)
        if not new:
            return
        runs = [valid[index] for index in new.values()]
        inserted = await self._handler.insert_runs(self._header(None), runs, self._backend)
        found = zip(new.values(), inserted, strict=True)
        results.update({index: result for index, result in found if result is not None})
        headers = [one for one in inserted if isinstance(one, Header)]
        await announce(self._settings, self._backend, headers)

    async def _store_under_lock(self, run_id: str, state: State) -> Header:
        """Store one run, unless a look without its lock shows that it is to be left as it is."""
        deadline = time.monotonic() + _MOST_SECONDS
        while True:
            run_store = self._handler.run_store(run_id, self._backend)
            shown = await self._backend.read(self._handler.header, run_id)
            if shown is not None and not await self._replaces(shown, state, run_store):
                return shown
            patience: Patience[tuple[Header, bool]] = Patience(_LOOK_SECONDS)
            queue = partial(self._queue, run_store, run_id, state)
            try:
                header, is_new = await hold_lock(run_store, self._backend, queue, patience=patience)
            except RunInProgressError:
                if time.monotonic() >= deadline:
                    raise
                continue
            if is_new:
                await announce(self._settings, self._backend, [header])
            return header

    async def _queue(self, run_store: RunStore, run_id: str, state: State) -> tuple[Header, bool]:
        """Store the run, or leave the one that was stored meanwhile. Its lock is held.

        Returns:
            The stored header, and whether it is of the given state.
        """
        stored = await run_store.read_header()
        if run_store.skipped is not None:
            log_skipped(run_store.skipped, RunPlace(self._settings.flow, run_id))
        try:
            replaces = await self._replaces(stored, state, run_store)
        except CheckpointError:
            run_store.take_back_start()
            raise
        if stored is not None and not replaces:
            run_store.take_back_start()
            return stored, False
        header = self._header(stored, run_id)
        await run_store.write(header, state, None)
        return run_store.header or header, True

    async def _replaces(self, stored: Header | None, state: State, run_store: RunStore) -> bool:
        """Whether the state is stored in the place of what is stored.

        Raises:
            CheckpointError: It is refused.
        """
        if is_to_be_queued(self._steps.names, stored, self._request, run_store.location):
            return True
        if stored is not None:
            await check_submitted(run_store, stored, state, self._settings)
        return False

    def _header(self, stored: Header | None, run_id: str | None = None) -> Header:
        """The header of a queued run."""
        of_new = self._of_new_runs
        if stored is not None:
            of_new = new_header(self._settings, self._steps, run_id, stored)
        attributes = of_new.__dict__.copy()
        attributes["run_id"], attributes["status"] = run_id, "queued"
        attributes["due"], attributes["sequence"] = self._due, of_new.sequence + 1
        attributes["started_at"] = attributes["written_at"] = time.time()
        return of_new.from_trusted(attributes)


async def announce(
    settings: FlowSettings, backend: Backend, headers: Sequence[Header], *, requeued: bool = False
) -> None:
    """Wake the workers of this process, and emit that runs were queued or made due."""
    if headers:
        settings.work_wanted.notify()
    for header in headers:
        dispatcher = EventDispatcher(
            *(settings.flow, header.run_id, settings.hooks, backend), listeners=settings.listeners
        )
        if not dispatcher.enabled:
            return
        dispatcher.number = header.number
        facts = {"due": header.due, "requeued": requeued, "reason": header.actor}
        await dispatcher.emit(RunSubmitted, **facts)


def _named(run_id: str, result: Header | CheckpointError) -> Header | CheckpointError:
    """The result of a run, whose state may be one that cannot be stored."""
    if isinstance(result, UnserializableStateError):
        return UnserializableStateError(None, result.offenders, run_id=run_id)
    return result


async def _each(indexes: Sequence[int]) -> AsyncGenerator[int, None]:
    for index in indexes:
        yield index
