"""Emits the events of a run: to the log, to the listeners of its flow, and to the hooks."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from contextlib import suppress
from contextvars import copy_context
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiocheckpoint._concurrency import forks
from aiocheckpoint._engine.progress_hooks import ProgressForHooks
from aiocheckpoint._event_log import log_event
from aiocheckpoint._logging import is_logged, log, place_of
from aiocheckpoint._model.followers import Follower
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._tracebacks import calls_user_code, drop_frames_of_engine
from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    RunTerminated,
    SnapshotSkipped,
    StepFailed,
    StepFinished,
    StepPaused,
    StepStarted,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextvars import Context

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.listeners import Listener, Listeners
    from aiocheckpoint.events import Event, Hook

__all__ = ["EventDispatcher"]

_Event = TypeVar("_Event", bound="Event")

_WARNINGS: frozenset[type[Event]] = frozenset(
    {AttemptFailed, RunStarted, RunTerminated, SnapshotSkipped, StepFailed, StepFinished}
)
"""Events that may be logged at WARNING or ERROR."""

_ENDS: frozenset[type[Event]] = frozenset({RunTerminated, StepFailed})
"""Events of exceptions that end a run."""

_ENDS_OF_ATTEMPTS: frozenset[type[Event]] = frozenset(
    {AttemptFailed, RunTerminated, StepFailed, StepFinished, StepPaused}
)
"""Events behind which an attempt says nothing more of its progress."""

_RARE: frozenset[type[Event]] = frozenset(
    {
        *(AttemptFailed, RunFinished, RunStarted, RunTerminated, SnapshotSkipped),
        *(StepFailed, StepPaused),
    }
)
"""Events that a follower hears. Each step has others, which cost more than a short one."""

_PATIENCE_SECONDS = 1.0
"""An event waits so long for a listener that another thread has called, and that hangs."""


class AttemptReports(Protocol):
    """The progress of the step that a run is in."""

    def end(self, *, breaks_off: bool) -> None:
        """Tell the last value of the attempt, and no further one.

        Args:
            breaks_off: Whether a hook that is at an earlier value is cancelled, as the run is.
        """

    def hand_over(self) -> Coroutine[Any, Any, None]:
        """Call the hooks with the value that waits for them."""
        ...


class StepWithReports(Protocol):
    """A step that may say how far it is."""

    @property
    def reports(self) -> AttemptReports | None:
        """Its progress. None where it has said none."""
        ...


class EventDispatcher:
    """Emits the events of one run.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        hooks: Callables that are called with each event.
        backend: Calls the hooks.
        listeners: The listeners of the flow.
        listener: A listener of this run alone, or one that follows it, or None.
        unattended: Whether no caller gets the exception of the run.

    Attributes:
        number: The run number.
        end_emitted: Whether the event of an exception that ends the run was emitted.
        step: The step that the run is in, or None.
        is_heard: Whether a hook, the listener of the call, or the log gets its events.
        known: The listeners of the flow. Each step looks at both three times, in a third of the
            time that `enabled` takes.
        telling: Held by the thread that calls the listeners.
        follower: What follows the run, or None.
    """

    def __init__(
        self,
        flow: str,
        run_id: str | None,
        hooks: Sequence[Hook],
        backend: Backend,
        *,
        listeners: Listeners,
        listener: Listener | Follower | None = None,
        unattended: bool = False,
    ) -> None:
        self.follower: Follower | None = None
        if isinstance(listener, Follower):
            self.follower, listener = listener, None
        self.number = 0
        self.end_emitted = False
        self.step: StepWithReports | None = None
        self.telling = Lock()
        self._flow, self._run_id = flow, run_id
        self._hooks = hooks
        self._listeners, self._listener = listeners, listener
        self.known = listeners.known
        self.is_heard = bool(hooks) or listener is not None or is_logged()
        self._backend = backend
        self._unattended = unattended
        self._process = forks.process
        self._context: Context | None = None

    @property
    def enabled(self) -> bool:
        """Whether events other than warnings reach a hook, a listener or the log.

        If not, the engine skips them, because each one costs time in every step.
        """
        return self.is_heard or bool(self.known)

    @property
    def tells_of_runs(self) -> bool:
        """Whether the beginning of a run, and its end, reach anyone."""
        return self.enabled or self.follower is not None

    @property
    def hears_progress(self) -> bool:
        """Whether a hook or a listener gets the progress of steps. The log does not."""
        return bool(self._hooks or self.known) or self._listener is not None

    @property
    def _is_listened_to(self) -> bool:
        """Whether there is a listener. A forked child that goes on with a run has none."""
        if not self.known and self._listener is None and self.follower is None:
            return False
        return self._process is forks.process

    @property
    def _reports(self) -> AttemptReports | None:
        """The progress of the step that the run is in. None where it has said none."""
        return None if self.step is None else self.step.reports

    def make(self, kind: type[_Event], **facts: Any) -> _Event:  # noqa: ANN401
        """Make an event from its class and its attributes, without those of `Event`."""
        return kind(flow=self._flow, run_id=self._run_id, number=self.number, **facts)

    async def emit(self, kind: type[Event], **facts: Any) -> None:  # noqa: ANN401
        """Log an event, and call listeners and hooks with it. One that raises is logged.

        Args:
            kind: The class of the event.
            facts: Its attributes, without those of `Event`.
        """
        if kind in _ENDS:
            self.end_emitted = True
        if not (self.enabled or is_logged() or kind in _WARNINGS or self._is_followed(kind)):
            return
        reports = self._reports
        if reports is not None and kind in _ENDS_OF_ATTEMPTS:
            breaks_off = kind is RunTerminated or facts.get("cancelled", False)
            reports.end(breaks_off=breaks_off)
        await self.send(self.make(kind, **facts))

    async def send(self, event: Event) -> None:
        """Log an event that is made already, and call listeners and hooks with it."""
        if is_logged() or type(event) in _WARNINGS:
            log_event(event, unattended=self._unattended)
        self.tell(event)
        if not self._hooks:
            return
        reports = self._reports
        if reports is not None:
            await reports.hand_over()
        await self._call_hooks(event)
        if type(event) is StepStarted:
            self._context = copy_context()

    def tell(self, event: Event) -> None:
        """Call the listeners with an event, in the thread of the run.

        It waits for a listener that another thread has called with progress, so that all get the
        events in the same order. One that hangs is not waited for.
        """
        if not self._is_listened_to:
            return
        is_locked = self.telling.acquire(timeout=_PATIENCE_SECONDS)
        try:
            self.call_listeners(event)
        finally:
            if is_locked:
                self.telling.release()

    def call_listeners(self, event: Event) -> None:
        """Call the listeners with an event, in the thread that holds `telling`."""
        called = self._listeners.current
        if self._listener is not None:
            called = (*called, self._listener)
        if self.follower is not None and self._is_followed(type(event)):
            called = (*called, self.follower.hear)
        for listener in called:
            try:
                _call(listener, event)
            except (Exception, CancelledError, *ENDS_OF_STEPS) as error:  # noqa: BLE001 - logged
                self._log(error, "listener", event)

    def _is_followed(self, kind: type[Event]) -> bool:
        return self.follower is not None and kind in _RARE

    def progress_for_hooks(self) -> ProgressForHooks | None:
        """Make what calls the hooks with the progress of a step. None where there are none."""
        if not self._hooks:
            return None
        return ProgressForHooks(self._backend, self._call_hooks, self._context or copy_context())

    async def _call_hooks(self, event: Event) -> None:
        for hook in self._hooks:
            before = self._backend.cancellations()
            try:
                await self._backend.executor.call_hook(hook, event)
            except (Exception, CancelledError, *ENDS_OF_STEPS) as error:
                if isinstance(error, CancelledError) and self._backend.cancellations() > before:
                    raise  # The run was cancelled, not the hook by itself.
                self._log(error, "hook", event)

    def _log(self, error: BaseException, kind: str, event: Event) -> None:
        drop_frames_of_engine(error)
        place = place_of(self._flow, self._run_id)
        words = "a %s raised an exception on %s. The run continues."
        with suppress(Exception):  # A closed stderr fails the log too.
            log(logging.ERROR, place, words, kind, type(event).__name__, error=error)


@calls_user_code
def _call(listener: Listener, event: Event) -> None:
    listener(event)
