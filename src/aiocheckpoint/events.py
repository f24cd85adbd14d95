"""The events of a run, as hooks get them: one frozen dataclass for each kind.

A hook is any callable that takes one event, sync or async. Hooks are called in order, on the event
loop under `arun` and in the caller's thread under `run`, and should be quick. An exception of a
hook is logged on the logger `aiocheckpoint` and never breaks a run.

No event holds values of the state. Only `StepFailed` and `AttemptFailed` hold the user's exception.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.older_records import loads_older
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.trace import OwnTrace
from aiocheckpoint.errors import CheckpointError

__all__ = [
    "Around",
    "AttemptFailed",
    "Event",
    "EventsDropped",
    "Hook",
    "RunFinished",
    "RunStarted",
    "RunSubmitted",
    "RunTerminated",
    "SnapshotSkipped",
    "SnapshotStarted",
    "SnapshotWritten",
    "StepEvent",
    "StepFailed",
    "StepFinished",
    "StepLoaded",
    "StepPaused",
    "StepProgressed",
    "StepStarted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None.
        number: Counts the runs that began anew in this place, from 1.
    """

    flow: str
    run_id: str | None
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Event):
    """Events that `watch` has left out, in their place, as its watcher is too slow.

    Only the watcher itself gets it. `run_id` is that of the call of `watch`, and `number` is 0.

    Attributes:
        count: How many.
    """

    count: int


Hook = Callable[[Event], object]
"""A callable that takes each event. It may be a coroutine function."""

Around = Callable[
    [Literal["run", "attempt", "snapshot"], Event],
    AbstractContextManager[Any] | AbstractAsyncContextManager[Any] | None,
]
"""A function for `around=` of `CheckpointFlow`.

It is called with a part of a run and the event of its beginning: "run" with `RunStarted`,
"attempt" with `StepStarted`, and "snapshot" with `SnapshotStarted`. It gives a context manager,
sync or async, that is entered before the part and left behind it, or None.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubmitted(Event):
    """A run was stored by `submit`, to be worked off, or made due again by `requeue`.

    Attributes:
        due: Seconds since the epoch before which workers leave it alone. None for at once.
        requeued: Whether `requeue` did so.
        reason: Its `reason=`, or None.
    """

    due: float | None
    requeued: bool = False
    reason: str | None = None


@loads_older
@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run has its plan, and its first step comes next.

    Attributes:
        plan: Its plan.
        trace: The trace of the last execution that is stored here, or None. That was an execution
            of an earlier run where `plan.fresh` is true.
        header: The header with which the run begins: when it began, and what its finished steps
            took. None where an earlier release has stored the event.
    """

    plan: Plan
    trace: str | None = None
    _own_trace: OwnTrace = field(default_factory=OwnTrace, repr=False, compare=False)
    header: Header | None = field(default=None, repr=False)

    def set_trace(self, trace: str) -> None:
        """Set the trace of this execution, which the next one gets as `trace`.

        Call it at the entry of the context manager that `around=` gives for "run", or in a hook. It
        is stored with the next snapshot or failure, as the key "trace" of the header. That takes no
        write of its own.

        Args:
            trace: A short text, such as a W3C traceparent: 1 to 256 printable characters.

        Raises:
            InvalidTypeError: It is no text.
            InvalidValueError: It is empty, too long, or holds characters that cannot be printed. Or
                the start of the run is over.
        """
        self._own_trace.set(trace)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerminated(Event):
    """A run was ended for good. It raises `RunTerminatedError`, and `RunFinished` does not follow.

    Attributes:
        step: Name of the step at which it stands, or None where that is unknown.
        reason: Why, as plain text.
        by: What ended it: "step" (it raised `Terminate`), "hand", or "starts" (too many at that
            step). `RunStarted` did not come before where a run was not started once more.
    """

    step: str | None
    reason: str
    by: Literal["step", "hand", "starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSkipped(Event):
    """The newest snapshot is damaged or not trusted, and a retained older one is used.

    Attributes:
        error: The error of the newest one.
    """

    error: CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent(Event):
    """Base of the events of one step.

    Attributes:
        step: The step's name.
        index: Its index in the flow.
        of: The number of steps of the flow.
    """

    step: str
    index: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(StepEvent):
    """An attempt at a step begins, before its loader, or before its saver that is called again.

    A step with `limiter=` holds its limiter by then. Where it waits, or the limiter raises, there
    is no such event.

    Attributes:
        attempt: Number of the attempt of this run at the step, from 1.
    """

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoaded(StepEvent):
    """A step's loader has filled `data`.

    Attributes:
        seconds: How long it took.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgressed(StepEvent):
    """A step has said how far it is, by `current_step().progress` or `track`.

    There are at most ten in a second for a step, and always the last of an attempt. Those in
    between are left out. The log has none.

    Attributes:
        done: How much is done, in the step's own units.
        total: How much there is to do, or None where that is unknown. It may be less than `done`.
        note: A short text, such as the units, or None. It may hold any character, so show it
            escaped.
        attempt: Number of the attempt of this run at the step, from 1.
    """

    done: float
    total: float | None
    note: str | None
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(StepEvent):
    """A step and its saver have finished. The snapshot comes next.

    Attributes:
        seconds: How long each part took, under "load", "step" and "save". The last call counts.
        result_ignored: Whether the step returned a value other than None, `state` or `data`, which
            is not kept.
    """

    seconds: Mapping[str, float]
    result_ignored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStarted(Event):
    """A snapshot is about to be stored. Functions of `around=` get it, hooks do not.

    Attributes:
        position: Index of the step at which a run would start from it.
        step: Name of the step that is done, or None at the start of a run.
    """

    position: int
    step: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotWritten(Event):
    """A snapshot of the state is stored.

    Attributes:
        position: Index of the step at which a run would start from it.
        bytes: Its size, or 0 if the user's own handler does not know it.
        seconds: How long writing it took.
    """

    position: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(StepEvent):
    """An attempt at a step with `retry=` failed with an error of the kind to retry on.

    Or the transaction of `current_step().connection()` was lost with its connection, with or
    without `retry=`. `StepStarted` of the next attempt follows, or `StepFailed` where no attempt is
    left.

    Attributes:
        part: "limiter", "load", "step" or "save". "snapshot" for a transaction that could not be
            committed.
        attempt: Number of the attempt.
        error: The exception.
        seconds: How long the attempt took.
    """

    part: str
    attempt: int
    error: Exception
    seconds: float


@loads_older
@dataclass(frozen=True, slots=True, kw_only=True)
class StepPaused(StepEvent):
    """A step raised `Pause`, and the run is stored as paused at it. `RunFinished` follows.

    Attributes:
        reason: The reason that it gave.
        pause_number: Counts the pauses under this id. `answers=` of `run` names it.
        due: When recovery executes the step again, in seconds since the epoch, or None.
    """

    reason: str
    pause_number: int = 0
    due: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(StepEvent):
    """A step raised an exception that ends the run.

    Attributes:
        part: "limiter", "load", "step", "save" or "snapshot".
        error: The exception.
        attempt: Number of the attempt of this run at the step, from 1.
        cancelled: Whether the exception is a cancellation or Ctrl-C rather than a failure.
        seconds: How long the attempt had been running.
    """

    part: str
    error: BaseException
    attempt: int
    cancelled: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended without an exception.

    Attributes:
        status: "finished", or "stopped" by `until=` or a drain, or "paused" by a step.
        position: Index of the step at which the next run starts.
        seconds: How long the run took.
    """

    status: Status
    position: int
    seconds: float
