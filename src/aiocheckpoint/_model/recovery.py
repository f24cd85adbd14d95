"""Whether recovery takes a run, decided under the run's lock. Makes no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiocheckpoint._model.due import is_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import ClaimedStart

__all__ = ["LeftAloneError", "Recovery", "is_suspect"]

_MOST_KILLED = 5
"""A run whose process was killed so often at one step is terminated."""
_SUSPECT_KILLED = 2
"""A run whose process was killed so often at one step is taken alone."""


class LeftAloneError(Exception):
    """Recovery leaves a run alone, which it has claimed.

    Attributes:
        is_suspect: Whether it is to be taken alone. Else it is not, or not any more, to be taken.
    """

    def __init__(self, *, is_suspect: bool = False) -> None:
        super().__init__()
        self.is_suspect: bool = is_suspect


@dataclass(frozen=True, slots=True)
class Recovery:
    """How recovery takes a run.

    Attributes:
        listed: The header of the run in the list from which it was taken.
        wants: Whether a run is chosen, by its header.
        starts: How often a run may be started at one step, or None for no end.
        by_hand: Whether the run was chosen by a filter. It is taken whether due or not, and it is
            not terminated.
        alone: Whether this flow object has no other run of recovery in progress.
    """

    listed: Header
    wants: Callable[[Header], bool]
    starts: int | None
    by_hand: bool = False
    alone: bool = False

    def check(self, stored: Header | None, start: ClaimedStart | None, now: float) -> None:
        """Compare the run with what the list has said of it.

        Args:
            stored: Its stored header, or None where it was deleted.
            start: The start that the claim has counted.
            now: Seconds since the epoch.

        Raises:
            LeftAloneError: Another process has had the run since. Or it is a suspect, and is not
                taken alone.
        """
        if stored is None:
            raise LeftAloneError
        if start is not None and start.was_running:
            stored = replace(stored, status="running")
        if self.by_hand:
            listed = self.listed
            same = (stored.number, stored.sequence) == (listed.number, listed.sequence)
            is_wanted = same and not stored.finished
        else:
            is_wanted = self.wants(stored) and is_due(stored, now)
        if not is_wanted:
            raise LeftAloneError
        if start is not None and start.record.killed >= _SUSPECT_KILLED and not self.alone:
            raise LeftAloneError(is_suspect=True)

    def reason_to_terminate(self, stored: Header, start: ClaimedStart | None) -> str | None:
        """Why the run is ended for good instead of being started once more. None if it is not."""
        if self.by_hand or self.starts is None or start is None:
            return None
        record, step = start.record, stored.next_step
        at = f"at position {stored.position}" if step is None else f"at step {step!r}"
        if record.killed >= _MOST_KILLED:
            return f"its process was killed {record.killed} times {at}"
        if record.starts > self.starts:
            times = "once" if self.starts == 1 else f"{record.starts - 1} times"
            died = f". Its process was killed in {record.killed} of these" if record.killed else ""
            return f"it was started {times} {at}, and never got past it{died}"
        return None


def is_suspect(header: Header) -> bool:
    """Whether a run of a list is taken alone: its process was killed more than once at its step."""
    return header.killed >= _SUSPECT_KILLED
