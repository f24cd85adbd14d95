"""The right to one run in a database, and what is asked of the database in its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers.sqlite._requests import Claim, Release, Save
from aiocheckpoint.handlers.sqlite._writer import is_writer

if TYPE_CHECKING:
    import asyncio

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Snapshot
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers.sqlite._store import Store

__all__ = ["Lease"]


class Lease:
    """The right to a run, which is worth as much as its token still is in the database.

    Args:
        store: The database.
        key: Flow and run id as the table has them.
        location: What is leased, for messages.
        keep: How many snapshots of it there are.

    Attributes:
        key: As it was given.
        location: As it was given.
        keep: As it was given.
        row: The number of the run's row.
        token: What stands in the row for as long as the right is this lease's; 0 where it is not.
        footer: Footer of the snapshot that was found when the lease was taken, empty where there
            was none, and None for one that is to be read by itself, and
        payload_length: the length of the payload to it.
        started: Whether the first snapshot was stored when the lease was taken.
        running: The number of the run that was last stored as running under this lease, or None.
        unwanted: Whether it was given back, maybe before it was taken: then the writer's thread
            gives it back itself, when it has taken it.
    """

    __slots__ = (
        "_owner_id",
        "_store",
        "footer",
        "keep",
        "key",
        "location",
        "payload_length",
        "row",
        "running",
        "started",
        "token",
        "unwanted",
    )

    def __init__(
        self, store: Store, key: tuple[str | bytes, str | bytes], location: str, keep: Keep
    ) -> None:
        self._store = store
        self._owner_id = ""
        self.key: tuple[str | bytes, str | bytes] = key
        self.location: str = location
        self.keep: Keep = keep
        self.row: int = 0
        self.token: int = 0
        self.payload_length: int = 0
        self.footer: bytes | None = b""
        self.started: bool = False
        self.running: int | None = None
        self.unwanted: bool = False

    @property
    def held(self) -> bool:
        """Whether it was taken and not given back; a forked child holds none."""
        return self.token != 0 and self._owner_id == self._store.owner_id

    def acquire(self) -> None:
        """Take it now.

        Raises:
            RunInProgressError: Somebody has it; the error names the owner.
            StorageError: The database cannot be written.
        """
        if not self.held:
            self.claim(None).wait()

    def claim(
        self, loop: asyncio.AbstractEventLoop | None, start: Snapshot | None = None
    ) -> PendingResult[None]:
        """Ask for it; the job is for `loop`, or for this thread.

        Args:
            loop: The loop, or None.
            start: Is stored in the same statement where there is no such run yet.
        """
        self._owner_id = self._store.owner_id
        self.token = 0
        self.unwanted = False
        return self._store.ask(Claim(self, start), loop)

    def save(
        self,
        header: Header,
        payload: bytes,
        footer: bytes,
        loop: asyncio.AbstractEventLoop | None,
        amends: Header | None = None,
    ) -> PendingResult[None]:
        """Ask for a snapshot to be stored; one that ends the run gives the lease back.

        Raises:
            LeaseLostError: It is not held.
        """
        if not self.held:
            raise LeaseLostError(self.location)
        return self._store.ask(Save(self, header, payload, footer, amends), loop)

    def release(self) -> None:
        """Give it back, also where it is only being taken; else without effect.

        Where the database cannot be written, it is given back as soon as it can.
        """
        self.unwanted = True  # before looking, as the writer's thread looks the other way round
        if not self.held:
            return
        row, token = self.row, self.token
        self.token = 0
        job = self._store.ask(Release(row, token), None)
        if not is_writer():  # which a garbage collection may have brought here
            job.wait()

    def taken(self, row: int, token: int, payload_length: int, footer: str) -> None:
        """Note that the lease was taken, and what was found, in the words of `SELECT_CLAIMED`."""
        self.row, self.token = row, token
        self.payload_length = payload_length
        self.started = footer == "="
        self.running = 1 if self.started else None
        if footer in {"-", "="}:
            self.footer = b""
        else:
            # An empty one is no more than a long one to be read by itself: the row is damaged.
            self.footer = None if footer in {"+", ""} else bytes.fromhex(footer)

    def saved(self, header: Header) -> None:
        """Note that a snapshot was stored."""
        self.running = header.number if header.status == "running" else None
        if self.running is None:
            self.token = 0
