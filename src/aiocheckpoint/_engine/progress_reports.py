"""What a step says of its progress: kept for its record, and told to hearers."""

from __future__ import annotations

from aiocheckpoint._model.current_step import Progress

__all__ = ["ProgressReports"]


class ProgressReports:
    """Takes the progress of one step, in any thread.

    Attributes:
        latest: What the present attempt has said last, or None.
        cursor: The cursor as JSON, of this attempt or an earlier one, or None.
        cursor_is_new: Whether it was given since somebody has cleared this.
        closed: Whether the step has ended.
    """

    # Defaults of the class, as every step makes such an object, and few steps use it.
    latest: Progress | None = None
    cursor: str | None = None
    cursor_is_new: bool = False
    closed: bool = False

    def report(
        self, done: float, total: float | None, note: str | None, cursor: str | None
    ) -> None:
        """Take the progress of a step. `cursor` is None where it stays as it is."""
        self.latest = Progress(done, total, note)
        if cursor is not None:
            self.cursor = cursor
            self.cursor_is_new = True

    def close(self) -> None:
        """Note the end of the step."""
        self.closed = True
