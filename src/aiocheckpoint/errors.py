"""The errors of the library: one root, few leaves.

Each error has its facts as attributes, and a text with a remedy. Errors survive pickling, so that
they can cross a process boundary. An exception that a user's step raised is never replaced by one
of these: the caller gets the same object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CheckpointError",
    "CorruptSnapshotError",
    "DrainingError",
    "FlowChangedError",
    "FlowDefinitionError",
    "IncompatibleSnapshotError",
    "InvalidTypeError",
    "InvalidValueError",
    "LeaseLostError",
    "MissingExtraError",
    "NoThreadError",
    "NotDurableError",
    "OutsideStepError",
    "RunInProgressError",
    "StepTimeoutError",
    "StorageError",
    "StreamConsumedError",
    "UnknownHandlerError",
    "UnserializableStateError",
    "UntrustedSnapshotError",
]


def _revive(kind: type[CheckpointError], text: str, facts: dict[str, Any]) -> CheckpointError:
    error = kind.__new__(kind)
    error.args = (text,)
    for name, value in facts.items():
        setattr(error, name, value)
    return error


class CheckpointError(Exception):
    """The root of all errors of this library."""

    def __str__(self) -> str:
        """The message, also where a built-in error is a second base."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the text and the attributes, without calling the constructor."""
        return _revive, (type(self), str(self), self._facts())

    def _facts(self) -> dict[str, Any]:
        return dict(self.__dict__)


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


class UnknownHandlerError(CheckpointError, NotImplementedError):
    """No state handler has this name, or the scheme of this path.

    Attributes:
        handler: The name or scheme that was asked for.
        known: The names that exist.
    """

    def __init__(self, handler: str, known: Sequence[str]) -> None:
        super().__init__(
            f"there is no state handler {handler!r}. The handlers known by name are "
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
    """`current_step()` was called where no step is being executed."""

    def __init__(self) -> None:
        super().__init__(
            "current_step() describes the step that is being executed, and none is executed here. "
            "Call it in a step, loader or saver, or in a thread that got their context "
            "(asyncio.to_thread passes it on)."
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


class DrainingError(CheckpointError):
    """The flow is being drained: a run was stopped after a step, or not started at all.

    No work is lost: the run is stored as "stopped", and the next process resumes it. The message
    says so where the stored run was deleted meanwhile.

    Attributes:
        flow: Name of the flow.
        path: Where the checkpoint of the stopped run is. None where no run was stopped.
    """

    def __init__(self, flow: str, path: str | None = None, *, problem: str = "") -> None:
        if not problem:
            problem = "no run starts any more. Start this one in the next process"
            if path is not None:
                problem = (
                    f"the run was stopped on its way, and {path} holds its state. The next process "
                    "resumes it, by aresume_all() or by running it again"
                )
        super().__init__(f"the flow {flow!r} is being drained: {problem}.")
        self.flow = flow
        self.path = path


class NoThreadError(CheckpointError, RuntimeError):
    """A call needs a thread. None can be started, or its thread ended early. The cause says why."""


class StreamConsumedError(CheckpointError, RuntimeError):
    """A stream was looped over a second time. Its items are not kept."""

    def __init__(self) -> None:
        super().__init__(
            "this stream has been looped over already, and gives its items only once. Call the "
            "method that made it again, or collect the items in a list."
        )


class FlowChangedError(CheckpointError):
    """The steps before the checkpoint are not the ones that wrote it, so no step was run.

    Attributes:
        path: Where the checkpoint is.
        stored_steps: The step names in the checkpoint. Empty where it does not have all of them.
        current_steps: The step names of the flow now.
        position: Index of the step at which the checkpoint would resume.
        excerpt: The `StepNamesExcerpt` of a checkpoint with more than 100 steps, else None.
        difference: Index of the first step before the position that has another name now. None
            where the checkpoint lacks the name of that step.
    """

    def __init__(
        self,
        path: str,
        stored_steps: Sequence[str],
        current_steps: Sequence[str],
        position: int,
        excerpt: Any = None,  # noqa: ANN401 - errors import no other module of the library
        *,
        change: str,
        difference: int | None = None,
    ) -> None:
        super().__init__(
            f"the checkpoint in {path} was written {change}: the first {position} must be the same "
            "for the run to resume, so nothing was run. Give them their old names back; or choose "
            "the step to start from, with the stored state, by checkpoint=<name or index>; or "
            "forget the checkpoint with reset(), of a run with an id with reset(run_id=...)."
        )
        self.path = path
        self.stored_steps: tuple[str, ...] = tuple(stored_steps)
        self.current_steps: tuple[str, ...] = tuple(current_steps)
        self.position = position
        self.excerpt: Any = excerpt
        self.difference: int | None = difference


class RunInProgressError(CheckpointError):
    """Another run of the same checkpoint is running, in this process or another.

    Attributes:
        path: Where the checkpoint is.
        pid: The owner's process id, or None where it could not be read.
        host: The owner's host name, or None.
        since: When the owner took it, as ISO 8601 text in UTC, or None.
    """

    def __init__(
        self,
        path: str,
        *,
        pid: int | None = None,
        host: str | None = None,
        since: str | None = None,
    ) -> None:
        owner = "an unknown process"
        if pid is not None:
            owner = f"process {pid} on {host}" + ("" if since is None else f" since {since}")
        super().__init__(
            f"{path} is in use by {owner}. Wait for it with wait=<seconds>, or use another path "
            "or run_id; when that process ends or is killed, the checkpoint is free at once."
        )
        self.path = path
        self.pid = pid
        self.host = host
        self.since = since


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


class UnserializableStateError(CheckpointError, TypeError):
    """The state holds a value that cannot be stored. The stored snapshot was not touched.

    Attributes:
        step: The step after which the state could not be stored, or None before the first.
        offenders: Pairs of the path of a value in the state, such as `state["conn"]`, and its type
            with the reason, never its content.
    """

    def __init__(self, step: str | None, offenders: Sequence[tuple[str, str]]) -> None:
        when = "before the first step" if step is None else f"after step {step!r}"
        found = "; ".join(f"{path}: {why}" for path, why in offenders)
        remedy = "Keep such things out of the state: open them inside the step, or hand them on in "
        if any(path.startswith("data") for path, _ in offenders):
            remedy += "`data` of a flow without keep_data=True, which stores that as well."
        else:
            remedy += "`data` with a loader and a saver."
        super().__init__(
            f"the state {when} cannot be stored. {found}. {remedy} The stored checkpoint is as it "
            "was."
        )
        self.step = step
        self.offenders: tuple[tuple[str, str], ...] = tuple(offenders)


class CorruptSnapshotError(CheckpointError):
    """The stored snapshot is damaged, is none, or is of another flow or run. Nothing was executed.

    Attributes:
        path: Where it is.
        reason: Its defect.
    """

    def __init__(self, path: str, reason: str, *, remedy: str | None = None) -> None:
        remedy = remedy or (
            "Restore the file from a copy, or delete it and start anew: with reset(), of a run "
            "with an id with reset(run_id=...)."
        )
        super().__init__(f"{path} is not a sound snapshot of this run: {reason}. {remedy}")
        self.path = path
        self.reason = reason


class IncompatibleSnapshotError(CheckpointError):
    """The stored snapshot is sound, but this program cannot load it.

    Attributes:
        path: Where it is.
        reason: Why it cannot be loaded.
        written_by: The Python version that wrote it, or "" where unknown.
    """

    def __init__(self, path: str, reason: str, *, written_by: str = "") -> None:
        super().__init__(f"the snapshot in {path} cannot be loaded here: {reason}.")
        self.path = path
        self.reason = reason
        self.written_by = written_by


class UntrustedSnapshotError(CheckpointError):
    """The origin of the stored snapshot is not trusted. Nothing of it was executed.

    Under `secret=` it is raised for a snapshot that is not signed, signed with another secret, or
    signed for another flow or run. Under `allow=` for a snapshot with a global that is not listed,
    or one that changes an object it did not make.

    Attributes:
        path: Where it is.
        reason: Its defect.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the snapshot in {path} is not trusted, and nothing of it was loaded: {reason}. If "
            "you know where it comes from, aiocheckpoint.adopt(path, secret=...) signs it as it "
            "is, and allow=(...) lists what it may name; else start anew with reset(), which "
            "deletes it."
        )
        self.path = path
        self.reason = reason


class StorageError(CheckpointError, OSError):
    """The location of the checkpoint cannot be read or written. The stored snapshot is unchanged.

    Attributes:
        path: The path concerned.
        errno: The system's error number, or None.
    """

    def __init__(self, path: str, problem: str, *, errno: int | None = None) -> None:
        super().__init__(problem)
        self.path = path
        self.errno = errno

    @classmethod
    def of(cls, path: str, doing: str, error: OSError) -> Self:
        """Translate a system error met while `doing` something (a gerund) at `path`."""
        return cls(
            path,
            f"{doing} {path} failed: {error.strerror or error}. Make the path usable (does it "
            "exist, is it writable, is there space?) and run again.",
            errno=error.errno,
        )

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "errno": self.errno}


class NotDurableError(StorageError):
    """The new snapshot is in place, but may not outlive a power cut.

    Raised when the directory could not be flushed after the rename.
    """
