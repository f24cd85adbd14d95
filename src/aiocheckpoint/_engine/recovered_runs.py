"""The runs in progress that recovery has taken, and the rule that suspects run alone."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.loop_signal import LoopSignal
from aiocheckpoint._concurrency.loops import is_gone
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.events import SnapshotWritten, StepFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint.events import Event

__all__ = ["RecoveredRun", "RecoveredRuns"]

_LOOK_SECONDS = 1.0
"""A loop that is closed under its runs wakes nobody."""


class RecoveredRuns:
    """The runs that `aresume_all` and `awork` of one flow object have taken, on all loops.

    A run whose process was killed again and again at one step may be what kills it. It is taken
    alone, so that no other run is counted as killed beside it. It waits until the others have
    ended, and they wait until it is past its step.

    Runs are held by weak references, as a loop may be closed and dropped under them.
    """

    def __init__(self) -> None:
        self._runs: set[weakref.ref[RecoveredRun]] = set()
        self._suspects: set[weakref.ref[RecoveredRun]] = set()
        self._changed = LoopSignal()
        self._worker: weakref.ref[_OnLoop] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """A copied or pickled flow has no runs in progress."""
        return type(self), ()

    async def enter(self, active_runs: ActiveRuns, *, alone: bool) -> RecoveredRun:
        """Wait until a run may begin, and count it as in progress until `RecoveredRun.leave`.

        Args:
            active_runs: The active runs of the flow.
            alone: Whether it is a suspect.

        Raises:
            DrainingError: The flow is being drained, and the run would have to wait.
        """
        run = RecoveredRun(self._leave)
        if not self._may_begin(alone=alone):
            await self._wait(run, active_runs, alone=alone)
        elif alone:
            self._suspects.add(weakref.ref(run, self._suspects.discard))
        self._runs.add(weakref.ref(run, self._runs.discard))
        return run

    @contextmanager
    def working(self) -> Generator[None, None, None]:
        """Let no other `awork` of the flow object work meanwhile.

        Raises:
            InvalidValueError: One does.
        """
        self.check_no_awork()
        worker = _OnLoop()  # Held by this frame alone.
        self._worker = weakref.ref(worker)
        try:
            yield
        finally:
            self._worker = None

    def check_no_awork(self) -> None:
        """Refuse a second `awork` of the flow object.

        Raises:
            InvalidValueError: One is in progress.
        """
        worker = None if self._worker is None else self._worker()
        if worker is not None and not worker.is_abandoned:
            raise InvalidValueError(
                "awork() of this flow is under way. One call works off all runs: raise its limit=, "
                "or make a second CheckpointFlow."
            )

    async def _wait(self, run: RecoveredRun, active_runs: ActiveRuns, *, alone: bool) -> None:
        event = asyncio.Event()
        if alone:  # From now on no other run begins.
            self._suspects.add(weakref.ref(run, self._suspects.discard))
        try:
            with active_runs.on_drain(event.set), self._changed.listening(event.set):
                while not self._may_begin(alone=alone):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS):
                            await event.wait()
                    event.clear()
                    active_runs.check()
        except BaseException:
            self._leave(run, ended=True)
            raise

    def _may_begin(self, *, alone: bool) -> bool:
        return not _any_living(self._runs if alone else self._suspects)

    def _leave(self, run: RecoveredRun, *, ended: bool) -> None:
        reference = weakref.ref(run)
        self._suspects.discard(reference)
        if ended:
            self._runs.discard(reference)
        self._changed.notify()


class _OnLoop:
    """Work on the running loop, which may be closed before the work ends."""

    def __init__(self) -> None:
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._process = forks.process

    @property
    def is_abandoned(self) -> bool:
        """Whether its loop was closed under it, or is gone, or is that of the parent process."""
        return self._process is not forks.process or is_gone(self._loop)


class RecoveredRun(_OnLoop):
    """A run that recovery has taken.

    Args:
        leave: Called when the run has ended, or is past its step.
    """

    def __init__(self, leave: Callable[..., None]) -> None:
        super().__init__()
        self._leave = leave
        self._step_done = False

    def leave(self) -> None:
        """Count it no more: it has ended."""
        self._leave(self, ended=True)

    def see(self, event: Event) -> None:
        """Take an event of the run, as a hook. Behind the snapshot of its step it is no suspect."""
        if isinstance(event, StepFinished):
            self._step_done = True
        elif isinstance(event, SnapshotWritten) and self._step_done:
            self._leave(self, ended=False)


def _any_living(references: set[weakref.ref[RecoveredRun]]) -> bool:
    runs = (reference() for reference in tuple(references))
    return any(run is not None and not run.is_abandoned for run in runs)
