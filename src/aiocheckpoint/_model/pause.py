"""The exception by which a step pauses its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.due import checked_due
from aiocheckpoint.errors import InvalidTypeError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["Pause"]


class Pause(BaseException):
    """Pauses the run of the step that raises it, for instance until an approval.

    The run is stored as paused at that step, with the state on entry to it. `arun` returns that
    state without an error. Continue it with `arun(run_id=..., update={...})`, which executes the
    step again with the update in its state, or with a plain `arun`, which executes it without.
    `aresume_all` does the latter once the run is `due`. It skips a paused run without a time.

    `Pause` is no `Exception`, so that neither `except Exception` in the step nor `retry=` catches
    it. A loader or saver may not raise it. A task of an `asyncio.TaskGroup` in the step may, unless
    another task of the group fails, or raises `Terminate`.

    Args:
        reason: Why the run waits, for readers of its header. It is stored as plain text, so it
            should hold nothing secret.
        due: When recovery executes the step again if nobody has continued the run by then: a
            `timedelta` from now on, or a `datetime` with a time zone. By default never.

    Attributes:
        reason: The same.
        due: The time in seconds since the epoch, or None.

    Raises:
        InvalidTypeError: `reason` is no string, or `due` is neither of these.
        InvalidValueError: `due` is a `datetime` without a time zone, or a negative `timedelta`.
    """

    def __init__(self, reason: str = "", due: timedelta | datetime | None = None) -> None:
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(
                f"Pause takes its reason as a string, not a {type(reason).__name__}."
            )
        super().__init__(reason)
        self.reason = reason
        self.due: float | None = checked_due(due)
