"""The exceptions by which a step ends its run without a failure: for good, or until an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiocheckpoint._model.pause import Pause
from aiocheckpoint.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENDS_OF_STEPS", "Terminate", "end_of_step"]


class Terminate(BaseException):
    """Ends the run of the step that raises it for good, for instance since a card was declined.

    The run is stored as terminated at that step, with the state on entry to it. `arun` raises
    `RunTerminatedError`, then and later, and neither `aresume_all` nor `awork` takes the run again.
    `arequeue(run_id)` makes it due once more, and `arun(checkpoint=...)` goes on with it.

    `Terminate` is no `Exception`, so that neither `except Exception` in the step nor `retry=`
    catches it. A loader or saver may not raise it. A task of an `asyncio.TaskGroup` in the step
    may, unless another task of the group fails.

    Args:
        reason: Why the run ends, for readers of its header. It is stored as plain text, so it
            should hold nothing secret.

    Attributes:
        reason: The same.

    Raises:
        InvalidTypeError: `reason` is no string.
    """

    def __init__(self, reason: str = "") -> None:
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(
                f"Terminate takes its reason as a string, not a {type(reason).__name__}."
            )
        super().__init__(reason)
        self.reason = reason


ENDS_OF_STEPS = (Pause, Terminate)
"""The exceptions that a step may raise, and neither its loader nor its saver."""


def end_of_step(error: BaseException) -> BaseException:
    """The end of a run in an exception of its step. The exception itself where it is no such end.

    An `asyncio.TaskGroup` raises what its tasks raise as a group. A group of nothing but ends
    counts as the first `Terminate` in it, or else as the first `Pause`.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    ends = list(_leaves(cast("BaseExceptionGroup[BaseException]", error)))
    if not all(isinstance(end, ENDS_OF_STEPS) for end in ends):
        return error
    return next((end for end in ends if isinstance(end, Terminate)), ends[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", error))
        else:
            yield error
