"""How often a run was started at its present step, and how often its process was killed there.

A start is one claim of a run by a process. The claim of a run that goes on stores a `StartRecord`
beside the snapshot. What became of a start is found out by the next reader: a snapshot that is
newer than the record says it, else the start has left nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = [
    "SHOWN_RUNNING_AFTER_CLAIM",
    "ClaimedStart",
    "Loss",
    "Ownership",
    "StartRecord",
    "draining",
    "is_needed",
    "is_shown_running",
    "next_start",
    "shown_header",
]

Loss = Literal["killed", "drained"]
"""What became of an owner that has recorded no end: killed, or killed after it began to drain."""

SHOWN_RUNNING_AFTER_CLAIM = frozenset({"queued", "running", "stopped", "failed", "cancelled"})
"""The statuses that "running" takes the place of when a run is claimed.

A paused run stays paused until its answer is stored, which is the first that its owner does. A
finished one begins anew with a snapshot.
"""


class RunFacts(Protocol):
    """The facts of a stored run that starts are counted by. A header has them."""

    @property
    def status(self) -> str:
        """Status of the newest snapshot."""
        ...

    @property
    def stopped_by(self) -> str | None:
        """As in a header."""
        ...

    @property
    def number(self) -> int:
        """Number of the run."""
        ...

    @property
    def position(self) -> int:
        """Index of the step at which the run stands."""
        ...

    @property
    def sequence(self) -> int:
        """Number of the newest snapshot."""
        ...


class StartRecord(NamedTuple):
    """The record of the last start of a run.

    Attributes:
        number, position, sequence: The snapshot that the start began with.
        starts: How often the run was started at that step, this start included.
        killed: How many of these starts ended because the process was killed.
        running: Whether the run was started and has recorded no end. False where the start was
            taken back, unless the one before it had recorded no end either.
        drains: Whether the owner has begun to drain.
    """

    number: int
    position: int
    sequence: int
    starts: int
    killed: int
    running: bool = True
    drains: bool = False

    def taken_back(self, *, was_running: bool) -> Self:
        """The record where the run was refused: it was not started.

        Args:
            was_running: Whether it was shown as running before, as its owner was killed.
        """
        return self._replace(starts=self.starts - 1, running=was_running)

    def encode(self) -> str:
        """The record as JSON in ASCII."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str | bytes) -> Self | None:
        """Read an encoded record. None for anything else, as after a power cut."""
        with suppress(ValueError, TypeError, LookupError, RecursionError):
            values: dict[str, Any] = json.loads(text)
            record = cls(*(values[name] for name in cls._fields))
            if tuple(map(type, record)) == tuple(map(type, _NO_RECORD)):
                return record
        return None


_NO_RECORD = StartRecord(0, -1, 0, 0, 0, running=False)


class Ownership(NamedTuple):
    """What a store knows of a run beside its snapshot.

    Attributes:
        record: The record of its last start, or None.
        owner: Its living owner in words, or None.
        loss: What became of its last owner, where that one has recorded no end.
    """

    record: StartRecord | None = None
    owner: str | None = None
    loss: Loss | None = None


class ClaimedStart(NamedTuple):
    """The start of a run that goes on, as its claim has counted it.

    Attributes:
        record: Its record.
        was_running: Whether the run was shown as running before, as its owner was killed.
    """

    record: StartRecord
    was_running: bool

    def starts_at(self, stored: RunFacts) -> int:
        """How often the run was started at the step where it stands now, from 1."""
        record = self.record
        same = (record.number, record.position) == (stored.number, stored.position)
        return record.starts if same else 1


def next_start(stored: RunFacts, record: StartRecord | None, loss: Loss | None) -> StartRecord:
    """Make the record of a start of an unfinished run.

    Args:
        stored: Its newest snapshot.
        record: The record of the start before, or None.
        loss: What became of the owner before.
    """
    starts, killed = _counted(stored, record, loss)
    return StartRecord(stored.number, stored.position, stored.sequence, starts + 1, killed)


def draining(record: StartRecord | None) -> StartRecord:
    """The record of a run whose owner has begun to drain."""
    return (record or _NO_RECORD)._replace(drains=True)


def is_shown_running(stored: RunFacts, record: StartRecord | None) -> bool:
    """Whether users see a run as running, in progress or killed."""
    return stored.status == "running" or _is_claimed_since(record, stored)


def is_needed(stored: RunFacts, record: StartRecord) -> bool:
    """Whether the record of a start that has ended says more than the snapshot does."""
    if _is_claimed_since(record, stored) and stored.status != "running":
        return True
    return _counted(stored, record, None) != _counted(stored, None, None)


def shown_header(header: Header, known: Ownership) -> Header:
    """The header of a run as users see it: with owner, starts, and the status since the claim."""
    if header.finished:
        return replace(header, owner=known.owner) if known.owner else header
    starts, killed = _counted(header, known.record, known.loss)
    status = "running" if _is_claimed_since(known.record, header) else header.status
    return replace(header, status=status, owner=known.owner, starts=starts, killed=killed)


def _counted(stored: RunFacts, record: StartRecord | None, loss: Loss | None) -> tuple[int, int]:
    """Starts at the step where a run stands, and how many of them ended by a kill."""
    same = record is not None and (record.number, record.position) == (
        stored.number,
        stored.position,
    )
    known = (record.starts, record.killed) if record is not None and same else None
    if known is not None and record is not None and _is_newest(record, stored):
        return _lost(*known, loss) if record.running else known
    if stored.status == "running":  # It got here, and has recorded no end.
        return _lost(*known or (1, 0), loss)
    if stored.status in {"failed", "cancelled"}:
        return known or (1, 0)
    if stored.stopped_by == "drain" and known is not None:
        return max(0, known[0] - 1), known[1]
    return 0, 0  # It ended in good order, or by hand.


def _is_claimed_since(record: StartRecord | None, stored: RunFacts) -> bool:
    """Whether a run was claimed to go on, and has stored no snapshot since."""
    if record is None or not record.running or not _is_newest(record, stored):
        return False
    return stored.status in SHOWN_RUNNING_AFTER_CLAIM


def _is_newest(record: StartRecord, stored: RunFacts) -> bool:
    """Whether no snapshot was stored since the start."""
    return (record.number, record.sequence) == (stored.number, stored.sequence)


def _lost(starts: int, killed: int, loss: Loss | None) -> tuple[int, int]:
    if loss == "drained":
        return max(0, starts - 1), killed
    return starts, killed + (loss == "killed")
