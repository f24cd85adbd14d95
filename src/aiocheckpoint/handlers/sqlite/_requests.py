"""Requests to the writer thread of a database, and the values of their statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Snapshot
    from aiocheckpoint.handlers.sqlite._lease import Lease

__all__ = ["Call", "Claim", "Release", "Save", "sql_text"]


_NO_SNAPSHOT = (None,) * 9


_LARGE_BYTES = 1 << 18


class Claim(NamedTuple):
    """Take a lease, and store the first snapshot of a new run."""

    lease: Lease
    start: Snapshot | None = None

    @property
    def footer(self) -> bytes | None:
        """That of the first snapshot."""
        return None if self.start is None else self.start[2]

    def row(self, owner: str, token: int, now: float) -> tuple[Any, ...]:
        """The values of a `CLAIM`."""
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

    lease: Lease
    header: Header
    payload: bytes
    footer: bytes
    amends: Header | None

    @property
    def key(self) -> tuple[Any, Any] | None:
        """The run concerned; None for a large snapshot, as SQLite copies all in a statement."""
        return None if len(self.payload) > _LARGE_BYTES else self.lease.key

    @property
    def keeps_running(self) -> bool:
        """Whether the run goes on under way: of its row, little else changes than the snapshot."""
        return self.header.status == "running" and self.lease.running == self.header.number

    @property
    def ends(self) -> bool:
        """Whether the run ends with it, so that the lease is given back in the same statement."""
        return self.header.status != "running"

    def step_values(self) -> tuple[Any, ...]:
        """The values of a `SAVE_STEP`."""
        header, lease = self.header, self.lease
        return (
            lease.row,
            # A snapshot before this one may have given the lease back; 0 is what a free run has.
            lease.token or None,
            header.position,
            header.next_step,
            header.sequence,
            header.written_at,
            self.footer,
            self.payload,
        )

    def status_values(self, owner: str) -> tuple[Any, ...]:
        """The values of an `SAVE_STATUS`."""
        header = self.header
        return (
            *self.step_values(),
            header.status,
            header.number,
            header.started_at,
            None if self.ends else owner,
            0 if self.ends else self.lease.token,
        )


class Release(NamedTuple):
    """Give back a lease under which nothing more is stored; done later where it cannot be now."""

    row: int
    token: int

    @property
    def key(self) -> tuple[Any, Any] | None:
        """None: it is done alone."""
        return None


class Call(NamedTuple):
    """Do something with the database, inside a transaction."""

    function: Callable[[sqlite3.Connection], Any]

    @property
    def key(self) -> tuple[Any, Any] | None:
        """None: it is done alone, as it may concern any run."""
        return None


def sql_text(text: str) -> str | bytes:
    """Give text as SQLite can hold it: as bytes where it is no valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text
