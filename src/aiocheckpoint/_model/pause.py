"""The exception by which a step pauses its run."""

from __future__ import annotations

from aiocheckpoint.errors import InvalidTypeError

__all__ = ["Pause"]


class Pause(BaseException):
    """Pauses the run of the step that raises it, for instance until an approval.

    The run is stored as paused at that step, with the state on entry to it. `arun` returns that
    state without an error. `aresume_all` skips paused runs. Continue one with
    `arun(run_id=..., update={...})`, which executes the step again with the update in its state, or
    with a plain `arun`, which executes it without.

    `Pause` is no `Exception`, so that neither `except Exception` in the step nor `retry=` catches
    it. A loader or saver may not raise it.

    Args:
        reason: Why the run waits, for readers of its header. It is stored as plain text, so it
            should hold nothing secret.

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
