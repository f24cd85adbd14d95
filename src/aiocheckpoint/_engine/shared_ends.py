"""The end of a run as the callers of this process share it that waited for the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._tracebacks import calls_user_code, user_frames
from aiocheckpoint.errors import LeaseLostError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.request import Request

__all__ = ["RunEnd", "SharedFailure"]


class SharedFailure:
    """The exception of a step, for all callers that share its run.

    Args:
        error: The exception, or the envelope that carries it.
        traceback: Its traceback from the user's code on.
    """

    def __init__(self, error: BaseException, traceback: TracebackType | None) -> None:
        self._error, self._traceback = error, traceback

    @classmethod
    def of(cls, error: BaseException) -> SharedFailure | None:
        """Make one of an exception that comes out of a run. None if the run was not failed by it.

        Another caller takes over a run that was cancelled or interrupted, or whose lock was lost.
        """
        inner = error.error if isinstance(error, ExceptionEnvelope) else error
        if not isinstance(inner, Exception) or isinstance(inner, LeaseLostError):
            return None
        return cls(error, user_frames(error))

    @calls_user_code
    def reraise(self) -> NoReturn:
        """Raise the exception, the same object, with the traceback that it had."""
        raise self._error.with_traceback(self._traceback)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run, for the callers that wait for it.

    Args:
        request: The request of the caller that ran it.
        header: The stored header.
        status: The status of its outcome. None where a step failed.
        failure: The exception of that step.
    """

    request: Request
    header: Header | None
    status: Status | None
    failure: SharedFailure | None = None
