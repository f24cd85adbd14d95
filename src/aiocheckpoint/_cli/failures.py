"""Exit codes and words of errors."""

from __future__ import annotations

import errno
import traceback
from typing import TYPE_CHECKING

from aiocheckpoint import errors
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.problems import CommandProblem
from aiocheckpoint._cli.repeated import without_passwords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.output import Output

__all__ = ["code_of", "say_why"]

_CODES: tuple[tuple[tuple[type[Exception], ...], ExitCode], ...] = (
    ((errors.RunNotFoundError,), ExitCode.NOT_FOUND),
    ((errors.RunInProgressError, errors.LeaseLostError), ExitCode.IN_PROGRESS),
    (
        (
            errors.CorruptSnapshotError,
            errors.UntrustedSnapshotError,
            errors.IncompatibleSnapshotError,
        ),
        ExitCode.DAMAGED,
    ),
    (
        (
            errors.FlowChangedError,
            errors.FlowVersionError,
            errors.DrainingError,
            errors.StateConflictError,
            errors.PauseConflictError,
            errors.RunStatusError,
        ),
        ExitCode.REFUSED,
    ),
    ((errors.RunTerminatedError,), ExitCode.TERMINATED),
    (
        (
            errors.InvalidTypeError,
            errors.InvalidValueError,
            errors.UnknownHandlerError,
            errors.MissingExtraError,
            errors.FlowDefinitionError,
        ),
        ExitCode.USAGE,
    ),
)
"""The first that fits counts: a `PauseConflictError` is an `InvalidValueError` too."""


_LIST = "The command runs lists the stored runs."
"""A remedy for people at a shell, in the place of methods of a flow."""


def code_of(error: BaseException) -> ExitCode:
    """Give the exit code of an error, `FAILED` for any that is not named here."""
    if isinstance(error, CommandProblem):
        return error.code
    if isinstance(error, errors.StorageError) and error.errno == errno.ENOENT:
        return ExitCode.NOT_FOUND
    if isinstance(error, errors.StorageError) and _is_no_sound_database(error):
        return ExitCode.DAMAGED
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    return ExitCode.FAILED


def _is_no_sound_database(error: errors.StorageError) -> bool:
    """Whether a file was found damaged, or is another program's database."""
    return error.damaged or error.errno == errno.EBADMSG


def say_why(error: Exception, output: Output, given: Sequence[str] = ()) -> None:
    """Say on stderr what went wrong. A fault of the library has its traceback, for a report.

    Args:
        error: The error.
        output: The output.
        given: What the person has given, of which no password is repeated.
    """
    if not isinstance(error, (CommandProblem, errors.CheckpointError)):
        output.words(*"".join(traceback.format_exception(error)).rstrip("\n").split("\n"))
        return
    if isinstance(error, errors.RunNotFoundError):
        place = without_passwords(error.path, given)
        output.words(f"aiocheckpoint: nothing is stored in {place}. {_LIST}")
        return
    before, behind = (error.before, error.behind) if isinstance(error, CommandProblem) else ((), ())
    output.words(*before, f"aiocheckpoint: {without_passwords(str(error), given)}", *behind)
