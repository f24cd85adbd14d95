"""The errors of the library: one root.

Each error has its facts as attributes, and a text with a remedy. Errors survive pickling, so that
they can cross a process boundary. An exception that a user's step raised is never replaced by one
of these: the caller gets the same object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._errors import messages as _messages
from aiocheckpoint._errors.conflicts import GivenStateIgnoredWarning, StateConflictError
from aiocheckpoint._errors.draining import DrainingError
from aiocheckpoint._errors.executors import ExecutorError
from aiocheckpoint._errors.in_progress import RunInProgressError
from aiocheckpoint._errors.root import CheckpointError
from aiocheckpoint._errors.root import revive as _revive
from aiocheckpoint._errors.sending import RemoteError, UnpicklableFlowError, WorkerLostError
from aiocheckpoint._errors.storage import (
    CorruptSnapshotError,
    ForeignFileError,
    NotDurableError,
    StorageError,
    StoreUnreachableError,
    UntrustedSnapshotError,
)
from aiocheckpoint._errors.terminated import RunTerminatedError
from aiocheckpoint._errors.transactions import NotTransactionalError, StepTransactionError
from aiocheckpoint._errors.unstored import UnserializableStateError
from aiocheckpoint._errors.versions import FlowVersionError
from aiocheckpoint._public import publish

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CheckpointError",
    "CorruptSnapshotError",
    "DrainingError",
    "ExecutorError",
    "FlowChangedError",
    "FlowDefinitionError",
    "FlowVersionError",
    "ForeignFileError",
    "GivenStateIgnoredWarning",
    "IncompatibleSnapshotError",
    "InvalidTypeError",
    "InvalidValueError",
    "LeaseLostError",
    "LostValuesWarning",
    "MissingExtraError",
    "NoThreadError",
    "NotDurableError",
    "NotTransactionalError",
    "OutsideStepError",
    "PauseConflictError",
    "RemoteError",
    "RunInProgressError",
    "RunNotFoundError",
    "RunStatusError",
    "RunTerminatedError",
    "SeveralFlowsError",
    "StateConflictError",
    "StepTimeoutError",
    "StepTransactionError",
    "StorageError",
    "StoreUnreachableError",
    "StreamConsumedError",
    "UnknownHandlerError",
    "UnpicklableFlowError",
    "UnserializableStateError",
    "UntrustedSnapshotError",
    "WorkerLostError",
]


# Pickles of errors, those of 0.5.0 included, name the function here.
_revive.__qualname__ = _revive.__name__ = "_revive"
publish(__name__, globals(), ["_revive"])


class FlowDefinitionError(CheckpointError):
    """The steps of a flow cannot be run as they were registered.

    `add_step` raises it for an object that cannot be a step, loader or saver, and for a second step
    of the same name. `run`, `arun` and `plan` raise it for a flow without steps.

    Attributes:
        step: The name of the step concerned, or None.
    """

    def __init__(self, message: str, *, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step


class InvalidTypeError(CheckpointError, TypeError):
    """An argument, or the return value of a loader, is of the wrong type."""


class InvalidValueError(CheckpointError, ValueError):
    """An argument has the right type and an impossible value."""


class SeveralFlowsError(InvalidValueError):
    """A store has several flows, and the call needs the name of one.

    Attributes:
        place: Path or URL of the store, without a password.
        flows: Names of the flows.
    """

    def __init__(self, place: str, flows: tuple[str, ...]) -> None:
        names = ", ".join(map(repr, flows))
        super().__init__(f"{place} has the flows {names}: name one by flow=.")
        self.place = place
        self.flows = flows


class PauseConflictError(InvalidValueError):
    """An answer was given to a pause that the run does not wait in. It was not stored.

    Attributes:
        path: Where the checkpoint is.
        answers: Number of the pause that was answered. None where none was named, and the run has
            ended.
        pause_number: Number of the pause that the run waits in, or None where it is not paused.
        early: Whether the pause may come yet. False where it was answered, or the run has ended.
    """

    def __init__(
        self,
        path: str,
        problem: str,
        *,
        answers: int | None = None,
        pause_number: int | None = None,
        early: bool = False,
    ) -> None:
        super().__init__(problem)
        self.path = path
        self.answers = answers
        self.pause_number = pause_number
        self.early = early


class RunStatusError(InvalidValueError):
    """A stored run has a status in which it is not queued again, or not terminated.

    A finished run is neither. A paused one is not queued again. Nothing was changed.

    Attributes:
        path: Where the checkpoint is.
        status: The status of the run, as in `Header.status`.
    """

    def __init__(self, path: str, status: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.status = status


class RunNotFoundError(CheckpointError, LookupError):
    """A stored run was to be resumed, queued again or terminated, and none of this id is stored.

    Attributes:
        path: Where its checkpoint would be.
    """

    def __init__(self, path: str, to: str = "resume") -> None:
        super().__init__(
            f"nothing is stored in {path}, so there is no run to {to}. run() and arun() begin a "
            "run, and runs() lists the stored ones."
        )
        self.path = path


class UnknownHandlerError(CheckpointError, NotImplementedError):
    """No state handler has this name, or the scheme of this path.

    Attributes:
        handler: The name or scheme that was asked for.
        known: The names that exist.
    """

    def __init__(self, handler: str, known: Sequence[str]) -> None:
        super().__init__(
            f"there is no state handler {handler!r}.{_messages.meant_handler(handler, known)} The "
            "handlers known by name are "
            f"{', '.join(map(repr, known))} (also as the scheme of a path, as in "
            "'sqlite:///runs.db'). Install the package that provides it by the entry point group "
            "'aiocheckpoint.handlers', or pass a class with read() and write(state)."
        )
        self.handler = handler
        self.known: tuple[str, ...] = tuple(known)


class MissingExtraError(CheckpointError, ImportError):
    """A feature needs a package that is not installed.

    Attributes:
        wanted: The feature: the name or scheme of a handler, or an argument.
        missing: The module that could not be imported.
        install: The command that installs it, or None where there is none.
    """

    def __init__(self, wanted: str, missing: str, install: str | None) -> None:
        remedy = (
            "This Python was built without it; use another one, or the handler 'local'."
            if install is None
            else f"This installs it: {install}."
        )
        super().__init__(
            f"{wanted} needs the module {missing!r}, which cannot be imported here. {remedy}"
        )
        self.wanted = wanted
        self.missing = missing
        self.install = install


class OutsideStepError(CheckpointError, LookupError):
    """`current_step()` was called where no step is being executed.

    In a worker process, in a thread of a pool, or in a task that outlives its step.
    """

    def __init__(self, reason: str = "none is executed here") -> None:
        super().__init__(
            f"current_step() describes the step that is being executed, and {reason}. "
            "Call it in a step, loader or saver, or in a thread that got their context "
            "(asyncio.to_thread passes it on). For a pool of processes or threads, and for a task "
            "that outlives the step, take the key in the step, and pass it on as an argument: "
            "pool.submit(f, current_step().idempotency_key)."
        )


class StepTimeoutError(CheckpointError, TimeoutError):
    """A part of a step took longer than `timeout=` allows, and was cancelled.

    Attributes:
        step: Name of the step.
        part: "load", "step" or "save".
        seconds: The limit.
    """

    def __init__(self, step: str, part: str, seconds: float) -> None:
        super().__init__(
            f"step {step!r} took longer in its part {part!r} than timeout={seconds:g} seconds, "
            "and was cancelled. Give it more time, or find out what it waits for."
        )
        self.step = step
        self.part = part
        self.seconds = seconds


class NoThreadError(CheckpointError, RuntimeError):
    """A call needs a thread. None can be started, or its thread ended early. The cause says why."""


class StreamConsumedError(CheckpointError, RuntimeError):
    """A stream was looped over a second time, or by two threads at once. Its items are not kept."""

    def __init__(
        self,
        problem: str = (
            "it has been looped over already, and gives its items only once. Call the method that "
            "made it again, or collect the items in a list."
        ),
    ) -> None:
        super().__init__(f"this stream cannot be used: {problem}")


class FlowChangedError(CheckpointError):
    """The steps are not the ones of the stored run, so no step was run. The run is unchanged.

    The steps before the position have other names now. Or the run has an id, and did not break, and
    the flow lacks the step at which it is. Or it is the run of another flow of the same name.

    Attributes:
        path: Where the checkpoint is.
        stored_steps: The step names in the checkpoint. Empty where it does not have all of them.
        current_steps: The step names of the flow now.
        position: Index of the step at which the checkpoint would resume.
        excerpt: The `StepNamesExcerpt` of a checkpoint with more than 100 steps, else None.
        difference: Index of the first step that has another name now. None where the checkpoint
            lacks the name of that step.
        step: Name of the step at which the run is, where the flow lacks it. Else None.
        of_other_flow: Whether it is another flow's run: no step name is the same.
    """

    step: str | None = None  # Pickles of 0.5 have neither.
    of_other_flow: bool = False

    def __init__(
        self,
        path: str,
        stored_steps: Sequence[str],
        current_steps: Sequence[str],
        position: int,
        excerpt: Any = None,  # noqa: ANN401 - `_model` is above
        *,
        change: str,
        difference: int | None = None,
        step: str | None = None,
        of_other_flow: bool = False,
        run_id: str | None = None,
        status: str | None = None,
        migrates: bool = False,
    ) -> None:
        run = _messages.RefusedRun(path, position, change, step, run_id, status)
        super().__init__(_messages.describe_refused(run, other=of_other_flow, migrates=migrates))
        self.path = path
        self.stored_steps: tuple[str, ...] = tuple(stored_steps)
        self.current_steps: tuple[str, ...] = tuple(current_steps)
        self.position = position
        self.excerpt: Any = excerpt
        self.difference: int | None = difference
        self.step = step
        self.of_other_flow = of_other_flow


class LeaseLostError(CheckpointError):
    """This process lost its lease on a run, and so wrote nothing.

    A run has one owner. An owner whose process was stopped for its whole lease, or whose heartbeats
    from another machine did not come, counts as dead. The owner of a file loses its lease when
    another program deletes its lock file or moves the directory. Another process may then resume
    the run.

    Attributes:
        path: Where the checkpoint is.
    """

    def __init__(self, path: str, problem: str | None = None) -> None:
        if problem is None:
            problem = "its lease ran out (was the process suspended?) or was given back"
        super().__init__(
            f"{path} is no longer this run's to write: {problem}, and another process may have "
            "resumed the run. This run stops here and has written nothing. Run again to resume "
            "from the stored state."
        )
        self.path = path


class IncompatibleSnapshotError(CheckpointError):
    """The stored snapshot is sound, but this program cannot load it.

    Attributes:
        path: Where it is.
        reason: Why it cannot be loaded.
        written_by: The Python version that wrote it, or "" where unknown.
        lost: Pairs of the path of a value, such as `state["model"]`, and why it cannot be loaded.
            Empty where nothing can be loaded, or the reason is no single value.
    """

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        written_by: str = "",
        lost: Sequence[tuple[str, str]] = (),
    ) -> None:
        remedy = (
            " Give what is missing its old place and name back, for example by an import there; "
            "or take the other values by cp.read(partial=True), store them by cp.handler.write() "
            "and run again; or start anew with cp.reset(). For a run with an id, give it to each."
        )
        super().__init__(
            f"the snapshot in {path} cannot be loaded here: {reason}.{remedy if lost else ''}"
        )
        self.path = path
        self.reason = reason
        self.written_by = written_by
        self.lost: tuple[tuple[str, str], ...] = tuple(lost)


class LostValuesWarning(UserWarning):
    """Values of a state could not be loaded, and `read(partial=True)` left them out."""
