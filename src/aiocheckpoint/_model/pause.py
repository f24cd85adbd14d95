"""What a step raises to let its run wait."""

from __future__ import annotations

from aiocheckpoint.errors import InvalidTypeError

__all__ = ["Pause"]


class Pause(BaseException):
    """Raised by a step whose run has to wait for something, such as an approval.

    The run is stored as paused at that step, with the state as it was on entry to it, and `arun`
    returns that state without an error. `arun(run_id=..., update={...})` goes on: the step runs
    again, with the update in its state. Nothing else resumes it, `aresume_all` included, but for a
    plain `arun` of the same run, which lets the step look for itself.

    It is no `Exception`, so that neither an `except Exception` in the step nor `retry=` holds it
    up. A loader or saver may not raise it.

    Args:
        reason: What the run waits for, for those who look at its header. It is stored as it is,
            so it should hold nothing secret.

    Attributes:
        reason: The same.

    Raises:
        InvalidTypeError: `reason` is no string.
    """

    def __init__(self, reason: str = "") -> None:
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(
                f"Pause takes its reason as a string, not a {type(reason).__name__}."
            )
        super().__init__(reason)
        self.reason = reason
