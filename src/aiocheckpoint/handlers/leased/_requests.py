"""Requests to the writer of a leased store: plain facts, from which stores make statements."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from aiocheckpoint._model.due import due_at
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.start_record import StartRecord
from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint._snapshot.codec import EncodedSnapshot
from aiocheckpoint.handlers._retention import Keep

__all__ = [
    "Claim",
    "Claimed",
    "Execute",
    "Key",
    "LeaseRecord",
    "Release",
    "Save",
    "due_column",
]

Key = tuple[str | bytes, str | bytes]
"""Flow and run id as a store has them, see `LeasedStore.text`."""

_LARGE_BYTES = 1 << 18


@dataclass(eq=False, slots=True)
class LeaseRecord:
    """The facts of a lease that requests carry and the writer thread updates.

    Attributes:
        key: Flow and run id as the store has them.
        location: The run, for messages.
        keep: How many snapshots of the run are kept.
        row: Id of the run's row.
        token: The row's token while the lease is valid. 0 while the lease is not held.
        owner: Id of the owner that the claim was made for.
        asked_token: The token of a claim that was made and has no answer yet, else 0. A claim that
            is repeated asks with the same token.
        counted: The record of the start that a try of the present claim has made, and the status
            of the run before it, or None. A repeated claim that finds it does not count it again.
        refused_by, refused_at: Id of the owner that has the run, and the time of its claim, as the
            last try of the present claim has found. Empty and 0 for none.
        footer: Footer of the snapshot that the claim found: empty for none, None for a footer
            that has to be read from the row.
        payload_length: Length of the payload of that snapshot.
        inserted: Whether the claim stored the first snapshot.
        running: Number of the run last stored as running under this lease, or None.
        start: The record of the start that the claim has made, until a snapshot is stored. None for
            a run that is new or finished, or that was not claimed to be run.
        status_before: The status of the run before that start.
        ending: Whether the end of the run was asked for, as its claim or its last snapshot found.
        has_progress: Whether the claim of a run that goes on has found a record of its progress.
        progress: The record of the run's progress that the next snapshot is to be stored with,
            empty to delete the one before, or None.
        is_refused: Whether the run was refused, so that a release takes the start back.
        released: Whether the lease was released, possibly before its claim was committed. The
            writer thread then releases it right after the claim.
        is_likely_stored: Whether the run was seen in the store, or is asked for as a stored one is.
    """

    key: Key
    location: str
    keep: Keep
    row: int = 0
    token: int = 0
    owner: str = ""
    asked_token: int = 0
    counted: tuple[StartRecord, str] | None = None
    refused_by: str = ""
    refused_at: float = 0.0
    footer: bytes | None = b""
    payload_length: int = 0
    inserted: bool = False
    running: int | None = None
    start: StartRecord | None = None
    status_before: str = ""
    ending: bool = False
    has_progress: bool = False
    progress: bytes | None = None
    is_refused: bool = False
    released: bool = False
    is_likely_stored: bool = False

    def begin_claim(self) -> None:
        """Forget the claim before."""
        self.token = self.asked_token = 0
        self.counted = None
        self.released = False

    def set_claimed(self, claimed: "Claimed") -> None:
        """Note a committed claim."""
        self.row, self.token, self.is_refused = claimed.row, claimed.token, False
        self.start, self.status_before = claimed.start or (None, "")
        self.ending, self.payload_length = claimed.ending, claimed.payload_length
        self.has_progress, self.footer = claimed.has_progress, claimed.footer
        self.inserted = claimed.inserted
        self.running = 1 if self.inserted else None

    def set_saved(self, header: Header) -> None:
        """Note a committed snapshot. A status other than "running" has released the lease."""
        self.running, self.start = header.number if header.status == "running" else None, None
        if self.running is None:
            self.token = 0


class Claimed(NamedTuple):
    """The result of a claim.

    Attributes:
        row, token: Id of the run's row, and the token that the row has now.
        payload_length: Of the snapshot that was found or inserted.
        footer: As in `LeaseRecord`.
        inserted: Whether the claim stored the first snapshot.
        start: The record of the start that was made, and the status of the run before it, or None.
        ending: Whether the end of the run was asked for.
        has_progress: Whether there is a record of the run's progress.
    """

    row: int
    token: int
    payload_length: int
    footer: bytes | None
    inserted: bool
    start: tuple[StartRecord, str] | None = None
    ending: bool = False
    has_progress: bool = False


class Claim(NamedTuple):
    """Take a lease, and store the first snapshot of a new run.

    Attributes:
        lease: The facts of the lease. Its `asked` is the token that the row gets.
        first_snapshot: The first snapshot of a new run, or None.
        runs: Whether the run is claimed to be run, which counts as a start of it.
    """

    lease: LeaseRecord
    first_snapshot: EncodedSnapshot | None = None
    runs: bool = False

    @property
    def footer(self) -> bytes | None:
        """Footer of the first snapshot."""
        return None if self.first_snapshot is None else self.first_snapshot[2]

    @property
    def key(self) -> Key | None:
        """The run concerned."""
        return self.lease.key


@dataclass(eq=False, slots=True)
class Save:
    """Store a snapshot under a lease, and perhaps the record of the run's progress.

    Attributes:
        lease: The facts of the lease.
        header: The header of the snapshot.
        payload, footer: Its bytes.
        amends: Header of the present snapshot if the new one holds the same state and replaces it
            in the history. Else None.
        progress: As in `LeaseRecord`.
    """

    lease: LeaseRecord
    header: Header
    payload: bytes
    footer: bytes
    amends: Header | None
    progress: bytes | None = None

    @property
    def key(self) -> Key | None:
        """The run concerned. None for a large snapshot, which forms a batch of its own."""
        return None if len(self.payload) > _LARGE_BYTES else self.lease.key

    @property
    def keeps_running(self) -> bool:
        """Whether the run was running and stays so. Only the snapshot's columns change then."""
        return self.header.status == "running" and self.lease.running == self.header.number

    @property
    def ends_run(self) -> bool:
        """Whether the snapshot ends the run. The same statement then releases the lease."""
        return self.header.status != "running"

    @property
    def due(self) -> float | None:
        """The time from which recovery may take the run, see `due_column`."""
        return due_column(self.header)

    @property
    def may_leave_ending(self) -> bool:
        """Whether the run can go on once more, so that a request to terminate it holds still."""
        return self.ends_run and self.header.status not in ENDED

    @property
    def clears_ending(self) -> bool:
        """Whether a request to terminate the run ends: with the run, or as the run is made due."""
        header = self.header
        return (
            header.status in ENDED
            or header.status == "queued"
            or (header.status == "stopped" and header.stopped_by == "requeue")
        )


class Release(NamedTuple):
    """Release a lease under which nothing more is stored. Repeated until it succeeds.

    Attributes:
        flow, run_id: The run as the store has it.
        token: The token that the lease has or had.
        before: The status before a start that is taken back, and the record without it, or None.
    """

    flow: str | bytes
    run_id: str | bytes
    token: int
    before: tuple[str, str] | None = None

    @classmethod
    def of(cls, lease: LeaseRecord, token: int) -> Self:
        """Make the request for a token that the lease has or had."""
        flow, run_id = lease.key
        before = None
        if lease.is_refused and lease.start is not None:
            was_running = lease.status_before == "running"
            start = lease.start.taken_back(was_running=was_running)
            before = lease.status_before, start.encode()
        return cls(flow, run_id, token, before)

    @property
    def key(self) -> Key | None:
        """None: a release forms a batch of its own."""
        return None


class Execute(NamedTuple):
    """Call a function with the connection, inside a transaction.

    Attributes:
        function: The function. It takes the connection. A store that is out of reach for the moment
            lets it be called twice. Statements that are coroutines are awaited: it returns the one
            that it calls.
        rows: The rows that it writes by one statement, which needs no transaction around it. 0 for
            any other function.
        notice: Told to other processes behind the function. Empty for none.
    """

    function: Callable[[Any], Any]
    rows: int = 0
    notice: str = ""

    @property
    def key(self) -> Key | None:
        """None: the function forms a batch of its own, as it may concern any run."""
        return None


def due_column(header: Header) -> float | None:
    """The time from which recovery may take a run without an owner, as a store has it.

    Infinity is never. None is for a run that is running or finished.
    """
    if header.status in {"running", "finished"}:
        return None
    due = due_at(header)
    return math.inf if due is None else due
