"""Requests to the writer thread of a database, and the values of their statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aiocheckpoint.handlers.sqlite._statements import GIVEN_FOOTER, LONG_FOOTER, NO_FOOTER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import EncodedSnapshot
    from aiocheckpoint.handlers._retention import Keep

__all__ = ["Claim", "Execute", "LeaseRecord", "Release", "Save", "sql_text"]

_NO_SNAPSHOT = (None,) * 9
_LARGE_BYTES = 1 << 18


@dataclass(eq=False, slots=True)
class LeaseRecord:
    """The facts of a lease that requests carry and the writer thread updates.

    Attributes:
        key: Flow and run id as the table has them.
        location: The run, for messages.
        keep: How many snapshots of the run are kept.
        row: Id of the run's row.
        token: The row's token while the lease is valid. 0 while the lease is not held.
        owner: Id of the owner that the claim was made for. The owner ends with the opened file.
        asked: The token of a claim that was made and has no answer yet, else 0.
        footer: Footer of the snapshot that the claim found: empty for none, None for a footer
            that has to be read from the row.
        payload_length: Length of the payload of that snapshot.
        inserted: Whether the claim stored the first snapshot.
        running: Number of the run last stored as running under this lease, or None.
        released: Whether the lease was released, possibly before its claim was committed. The
            writer thread then releases it right after the claim.
    """

    key: tuple[str | bytes, str | bytes]
    location: str
    keep: Keep
    row: int = 0
    token: int = 0
    owner: str = ""
    asked: int = 0
    footer: bytes | None = b""
    payload_length: int = 0
    inserted: bool = False
    running: int | None = None
    released: bool = False

    def set_claimed(self, row: int, token: int, payload_length: int, footer: str) -> None:
        """Note a committed claim. The last two values come from `SELECT_CLAIMED`."""
        self.row, self.token = row, token
        self.payload_length = payload_length
        self.inserted = footer == GIVEN_FOOTER
        self.running = 1 if self.inserted else None
        if footer in {NO_FOOTER, GIVEN_FOOTER}:
            self.footer = b""
        else:
            # An empty footer means a damaged row, which reading the row reports.
            self.footer = None if footer in {LONG_FOOTER, ""} else bytes.fromhex(footer)

    def set_saved(self, header: Header) -> None:
        """Note a committed snapshot. A status other than "running" has released the lease."""
        self.running = header.number if header.status == "running" else None
        if self.running is None:
            self.token = 0


class Claim(NamedTuple):
    """Take a lease, and store the first snapshot of a new run."""

    lease: LeaseRecord
    start: EncodedSnapshot | None = None

    @property
    def footer(self) -> bytes | None:
        """Footer of the first snapshot."""
        return None if self.start is None else self.start.footer

    def row(self, owner: str, token: int, now: float) -> tuple[Any, ...]:
        """The values of a `CLAIM`, noted so that a claim without an answer can be released."""
        self.lease.owner, self.lease.asked = owner, token
        if self.start is None:
            return (*self.lease.key, owner, token, now, *_NO_SNAPSHOT)
        header, payload, footer = self.start
        return (
            *self.lease.key,
            owner,
            token,
            now,
            header.position,
            header.next_step,
            header.sequence,
            header.written_at,
            footer,
            payload,
            header.status,
            header.number,
            header.started_at,
        )

    @property
    def key(self) -> tuple[Any, Any] | None:
        """The run concerned."""
        return self.lease.key


class Save(NamedTuple):
    """Store a snapshot under a lease."""

    lease: LeaseRecord
    header: Header
    payload: bytes
    footer: bytes
    amends: Header | None

    @property
    def key(self) -> tuple[Any, Any] | None:
        """The run concerned. None for a large snapshot, as SQLite copies all in a statement."""
        return None if len(self.payload) > _LARGE_BYTES else self.lease.key

    @property
    def keeps_running(self) -> bool:
        """Whether the run was running and stays so. Only the snapshot's columns change then."""
        return self.header.status == "running" and self.lease.running == self.header.number

    @property
    def ends_run(self) -> bool:
        """Whether the snapshot ends the run. The same statement then releases the lease."""
        return self.header.status != "running"

    def step_values(self) -> tuple[Any, ...]:
        """The values of a `SAVE_STEP`."""
        header, lease = self.header, self.lease
        return (
            lease.row,
            # An earlier snapshot may have released the lease. A free run has the token 0.
            lease.token or None,
            header.position,
            header.next_step,
            header.sequence,
            header.written_at,
            self.footer,
            self.payload,
        )

    def status_values(self, owner: str) -> tuple[Any, ...]:
        """The values of a `SAVE_STATUS`."""
        header = self.header
        return (
            *self.step_values(),
            header.status,
            header.number,
            header.started_at,
            None if self.ends_run else owner,
            0 if self.ends_run else self.lease.token,
        )


class Release(NamedTuple):
    """Release a lease under which nothing more is stored. Repeated until it succeeds."""

    flow: str | bytes
    run_id: str | bytes
    token: int

    @classmethod
    def of(cls, lease: LeaseRecord, token: int) -> Self:
        """Make the request for a token that the lease has or had."""
        flow, run_id = lease.key
        return cls(flow, run_id, token)

    @property
    def key(self) -> tuple[Any, Any] | None:
        """None: a release forms a batch of its own."""
        return None


class Execute(NamedTuple):
    """Call a function with the connection, inside a transaction."""

    function: Callable[[sqlite3.Connection], Any]

    @property
    def key(self) -> tuple[Any, Any] | None:
        """None: the function forms a batch of its own, as it may concern any run."""
        return None


def sql_text(text: str) -> str | bytes:
    """Give text as SQLite can hold it: as bytes where it is no valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text
