"""What a store keeps of the progress of a step, for the next attempt at the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["ProgressRecord"]


class ProgressRecord(NamedTuple):
    """The last progress of a step of one run, with its cursor.

    Attributes:
        flow, run_id: The run.
        number: Number of the run, as `Header.number`.
        began: When the run began, as `Header.started_at`. A run that was deleted and begun again
            under the same id has the same number.
        step: Name of the step.
        cursor: The cursor as JSON, as `encode_cursor` makes it.
        done: How much of the step was done.
        total: How much there is to do, or None where unknown.
        note: What is counted, or None.
        at: When the record was made, in seconds since the epoch.
    """

    flow: str
    run_id: str | None
    number: int
    began: float
    step: str
    cursor: str
    done: float = 0.0
    total: float | None = None
    note: str | None = None
    at: float = 0.0

    def is_of(self, header: Header, step: str | None) -> bool:
        """Whether it is of this step of the run that a header is of."""
        run = header.flow, header.run_id, header.number, header.started_at, step
        return run == (self.flow, self.run_id, self.number, self.began, self.step)
