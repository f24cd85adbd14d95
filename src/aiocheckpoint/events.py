"""The events of a run, as hooks get them: one frozen dataclass for each kind.

A hook is any callable that takes one event, sync or async. Hooks are called in order, on the event
loop under `arun` and in the caller's thread under `run`, and should be quick. An exception of a
hook is logged on the logger `aiocheckpoint` and never breaks a run.

No event holds values of the state. Only `StepFailed` and `AttemptFailed` hold the user's exception.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiocheckpoint._model.header import Status
from aiocheckpoint._model.plan import Plan
from aiocheckpoint.errors import CheckpointError

__all__ = [
    "AttemptFailed",
    "Event",
    "Hook",
    "RunFinished",
    "RunStarted",
    "SnapshotSkipped",
    "SnapshotWritten",
    "StepEvent",
    "StepFailed",
    "StepFinished",
    "StepLoaded",
    "StepPaused",
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


Hook = Callable[[Event], object]
"""A callable that takes each event. It may be a coroutine function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run has its plan, and its start is stored.

    Attributes:
        plan: Its plan.
    """

    plan: Plan


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
    """An attempt at a step begins, before its loader.

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
class StepFinished(StepEvent):
    """A step and its saver have finished. The snapshot comes next.

    Attributes:
        seconds: How long each part took, under "load", "step" and "save".
        result_ignored: Whether the step returned a value other than None, `state` or `data`, which
            is not kept.
    """

    seconds: Mapping[str, float]
    result_ignored: bool


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

    `StepStarted` of the next attempt follows, or `StepFailed` where no attempt is left.

    Attributes:
        part: "load", "step" or "save".
        attempt: Number of the attempt.
        error: The exception.
        seconds: How long the attempt took.
    """

    part: str
    attempt: int
    error: Exception
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPaused(StepEvent):
    """A step raised `Pause`, and the run is stored as paused at it. `RunFinished` follows.

    Attributes:
        reason: The reason that it gave.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(StepEvent):
    """A step raised an exception that ends the run.

    Attributes:
        part: "load", "step", "save" or "snapshot".
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
