"""What became of a run, or would become of it: one line of words, JSON and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.refusals import code_of_run, is_of_step, refusal_words
from aiocheckpoint._display.run_facts import run_in_words
from aiocheckpoint.errors import CheckpointError, RunTerminatedError

if TYPE_CHECKING:
    from aiocheckpoint import Header, Plan, RunResult

__all__ = ["Outcome", "code_of_status"]

_STATES = {
    "given": "given state",
    "stored": "stored state",
    "kept": "kept state of that step",
    "empty": "empty state",
}
_CODES = {
    "finished": ExitCode.DONE,
    "paused": ExitCode.PAUSED,
    "stopped": ExitCode.STOPPED,
    "terminated": ExitCode.TERMINATED,
    "queued": ExitCode.QUEUED,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.FAILED,
}


class Outcome(NamedTuple):
    """What became of one run.

    Attributes:
        run_id: The run, or None.
        status: Its status, or one word for what was done, such as "deleted" or "refused".
        code: The exit code for it.
        words: The status with more about it. By default the status alone.
        error: The exception that ended it, or that refused it, or None.
    """

    run_id: str | None
    status: str
    code: ExitCode = ExitCode.DONE
    words: str = ""
    error: BaseException | None = None

    @property
    def line(self) -> str:
        """The line of a list: the run and the words."""
        return f"{run_in_words(self.run_id)}  {self.words or self.status}"

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        error = self.error
        shown = None if error is None else {"type": _kind(error), "message": _message(error)}
        return {
            "run_id": self.run_id,
            "status": self.status,
            "words": self.words or self.status,
            "code": int(self.code),
            "error": shown,
        }

    @classmethod
    def of_result(cls, result: RunResult[Any]) -> Self:
        """Describe a result of many runs."""
        if result.error is not None:
            return cls.of_error(result.run_id, result.error)
        status = result.status or "finished"
        return cls(result.run_id, status, code_of_status(status))

    @classmethod
    def of_header(cls, header: Header) -> Self:
        """Describe a run by the header that is stored now."""
        about = {
            "paused": f"pause {header.pause_number}, {header.pause or ''}",
            "stopped": f"by {header.stopped_by}" if header.stopped_by else "",
            "terminated": header.termination or "",
        }
        more = about.get(header.status, "").removesuffix(", ")
        words = f"{header.status}: {more}" if more else ""
        return cls(header.run_id, header.status, code_of_status(header.status), words)

    @classmethod
    def of_stored(cls, run_id: str | None, header: Header | None) -> Self:
        """Describe a run that has run, by its header. A step may have deleted its own run."""
        return cls(run_id, "finished") if header is None else cls.of_header(header)

    @classmethod
    def of_error(cls, run_id: str | None, error: BaseException) -> Self:
        """Describe a run that ended by an error, or was refused with it."""
        code = code_of_run(error)
        if not isinstance(error, CheckpointError) or is_of_step(error):
            words = f"failed: {_kind(error)}: {_message(error)}".removesuffix(": ")
            return cls(run_id, "failed", ExitCode.FAILED, words, error)
        if code == ExitCode.STOPPED:
            return cls(run_id, "stopped", code, "stopped: by drain", error)
        if isinstance(error, RunTerminatedError):
            words = f"terminated: {error.reason}".removesuffix(": ")
            return cls(run_id, "terminated", code, words, error)
        return cls.of_refusal(run_id, error)

    @classmethod
    def of_refusal(cls, run_id: str | None, error: CheckpointError) -> Self:
        """Describe a run that is refused, and of which nothing was done."""
        words = f"refused: {refusal_words(error)}"
        return cls(run_id, "refused", code_of_run(error), words, error)

    @classmethod
    def of_plan(cls, run_id: str | None, plan: Plan) -> Self:
        """Describe what would become of a run by its plan."""
        if plan.refused is not None:
            return cls.of_refusal(run_id, plan.refused)
        if plan.done or plan.first is None:
            words = f"would stay as it is: {plan.reason}" if plan.done else "would finish"
            return cls(run_id, "would not run", words=words)
        place = f"{plan.start + 1}/{len(plan.steps)} {plan.first!r}"
        words = f"starts at {place}, {_STATES[plan.source]}: {plan.reason}"
        if plan.migrates is not None:
            words = f"starts with migrate=: version {plan.migrates} of the flow stored it"
        return cls(run_id, "would run", words=words)


def code_of_status(status: str) -> ExitCode:
    """Give the exit code of a run by its status. One in progress has that of another's."""
    return _CODES.get(status, ExitCode.IN_PROGRESS)


def _kind(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ in {"builtins", "__main__"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    """The first line of the text of an exception, whose methods may raise anything."""
    try:
        return str(error).partition("\n")[0]
    except Exception as problem:  # noqa: BLE001
        return f"<no text: {type(problem).__name__}>"
