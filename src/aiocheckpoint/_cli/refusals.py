"""Runs that fail or are refused: their exit codes, and the words of one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.failures import code_of
from aiocheckpoint._cli.shell_words import in_shell_words
from aiocheckpoint._model.failure_texts import NOTE_OF_STEP
from aiocheckpoint.errors import (
    DrainingError,
    FlowChangedError,
    FlowVersionError,
    RunNotFoundError,
    RunTerminatedError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint.errors import CheckpointError

__all__ = ["code_of_many", "code_of_run", "is_of_step", "refusal_words"]

_FROM_WORST = (
    ExitCode.FAILED,
    ExitCode.DAMAGED,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.IN_PROGRESS,
    ExitCode.NOT_FOUND,
    ExitCode.TERMINATED,
)
"""Codes of one of many runs that make the code of all. Pauses and stops of some are no fault."""


def is_of_step(error: BaseException) -> bool:
    """Whether an exception broke a step, and is no refusal of its run.

    A step may let out an error of another run, such as its `RunInProgressError`. The note on the
    step tells it from an error of its own run.
    """
    notes: Iterable[object] = getattr(error, "__notes__", ())
    return any(str(note).startswith(NOTE_OF_STEP) for note in notes)


def code_of_run(error: BaseException) -> ExitCode:
    """Give the exit code of a run that ended by an error, or was refused with it.

    A run that a drain has stopped behind a step is stopped, and not refused.
    """
    if is_of_step(error):
        return ExitCode.FAILED
    if isinstance(error, DrainingError) and error.path is not None:
        return ExitCode.STOPPED
    return code_of(error)


def code_of_many(codes: Iterable[ExitCode]) -> ExitCode:
    """Give the exit code of a command for many runs: that of the worst of them."""
    seen = set(codes)
    return next((code for code in _FROM_WORST if code in seen), ExitCode.DONE)


def refusal_words(error: CheckpointError) -> str:
    """Say in one line why a run is refused, such as "step 3 was 'pay' when it was stored"."""
    match error:
        case FlowChangedError():
            return _change(error)
        case FlowVersionError(stored_version=stored, version=version):
            return f"version {stored} of the flow stored it, and this is version {version}"
        case RunTerminatedError(reason=reason):
            return f"it is terminated: {reason}" if reason else "it is terminated"
        case RunNotFoundError():
            return "no such run is stored"
        case StorageError():  # Without its remedy, as of missing rights, nobody could go on.
            return in_shell_words(str(error)).removesuffix(".")
        case _:
            return _first_sentence(in_shell_words(str(error)))


def _change(error: FlowChangedError) -> str:
    if error.of_other_flow:
        return "it is a run of another flow, with none of the steps of this one"
    if error.step is not None:
        return f"it stands at step {error.position + 1}, {error.step!r}, which the flow lacks"
    index = error.difference
    if index is None or index >= len(error.stored_steps):
        return "steps that it has done have other names now"
    now = error.current_steps[index : index + 1]
    word = f"is {now[0]!r}" if now else "is missing"
    return f"step {index + 1} was {error.stored_steps[index]!r} when it was stored, and {word}"


def _first_sentence(text: str) -> str:
    head, separator, _ = text.partition(". ")
    return head if separator else text.removesuffix(".")
