"""One connection to a leased store: the statements that the author of a store writes.

A connection is used by one thread at a time. Threads, group commit, repeats, cancellation, leases
and the question which owner is gone are the business of this package.

Every method that writes can be repeated: after a lost answer it is called once more, and the second
call changes nothing that the first has done. Statements under a token have this property.

Two kinds of errors leave a connection. `StoreUnreachableError` is for a store that is out of reach
for the moment: connection lost or refused, starting up or shutting down, read-only, no connection
free, deadlock, serialization failure. The connection is dropped then, and the requests are repeated
over a new one. Where the store has ended one statement alone, as at a row that another transaction
holds, the error's `is_of_statement` is set to True. Then the connection is kept, and requests of
other runs do not wait. Any other trouble is a `StorageError` with the remedy in its message.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from aiocheckpoint import _public
from aiocheckpoint.handlers.leased._reading import ReadingStatements
from aiocheckpoint.handlers.leased._writing import WritingStatements

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._requests import Save
    from aiocheckpoint.handlers.leased._rows import OwnerBeat, SeenOwner

__all__ = ["StoreConnection"]

_abandoned: list[object] = []


class StoreConnection(WritingStatements, ReadingStatements):
    """A connection to a leased store, and its statements.

    The writer of a process has one that was made by `connect(writes=True)`. The statements of
    `ReadingStatements` are called on others, made by `connect(writes=False)`.

    Attributes:
        session: Names this connection among those of all processes, so that others can see whether
            it is open. None where they cannot, as behind a pooler.
        commits_alone: Whether `claim`, `save_steps`, `save_statuses`, `insert_queued` and
            `write_progress` write by one statement each, which commits by itself outside of
            `transaction`. The writer calls one there if it is the only one, which saves round
            trips. No run of a batch depends on another one. Such a statement must not wait for
            ever for a row that another transaction holds.
        waits_briefly: Set by the writer before a `transaction` that is to give up at once where
            another transaction holds a row, as the requests of other runs wait for it.
    """

    session: str | None = None
    commits_alone: bool = False
    waits_briefly: bool = False

    def is_lost(self) -> bool:
        """Whether the connection is known to be lost, found out without asking the server.

        Such a connection is closed before the next request, and another one is made. So a store may
        also give up a connection that has become large.

        The writer calls it several times a second while a run is in progress, if there is a
        `session`. An owner that connects anew at once is not taken for a dead one.
        """
        return False

    def stored(self, saves: Sequence[Save]) -> set[int]:
        """See `WritingStatements`. By default each run is read by its key."""
        found = [self.read_footer(save.lease.key) for save in saves]
        return {
            number
            for number, (save, stored) in enumerate(zip(saves, found, strict=True))
            if stored is not None and stored[0] == save.footer
        }

    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        """See `WritingStatements`. By default each run is read by its key."""
        found = [self.read_ending(save.lease.key) for save in saves]
        return {number for number, request in enumerate(found) if request is not None}

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Commit all that is written in a `with` block together, or nothing after an exception.

        Each statement sees what others have committed before it began, as in the isolation level
        READ COMMITTED. In a level that reads an older state, a claim might not find the row that
        another owner has just made.

        The end of the block returns when the commit would outlive a crash of the store.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection. Raises nothing. A broken one is closed as well."""

    def abandon(self) -> None:
        """Leave the connection open, unused: in a forked child its socket is the parent's.

        By default it is kept for ever, because the end of an object may say goodbye to the server.
        """
        _abandoned.append(self)

    def notify(self, notices: Collection[str], *, if_attended: Collection[str] = ()) -> None:
        """Send notices to the listeners of all processes. By default none are sent.

        It is called behind a commit, outside of `transaction`. A notice that is lost costs the
        others a second, because they also look by themselves.

        Args:
            notices: Short texts of ASCII without spaces.
            if_attended: The same, for listeners that wait for them now by `StoreListener.attend`.
                They may be left out where there is none.
        """
        del notices, if_attended

    @abstractmethod
    def heartbeat(self, owner: OwnerBeat) -> None:
        """Insert the row of an owner, or renew its `beat` and `session`.

        Where the row names another session of this owner, the store ends that session first, if it
        can. The network may have delayed a statement of it.
        """

    @abstractmethod
    def owners(self, ids: Collection[str] | None) -> list[SeenOwner]:
        """Read the rows of owners by their ids. None for all. An id without a row is left out."""

    def seconds_up(self) -> float:
        """How long the server has been up. Infinity where that is unknown."""
        return math.inf

    @abstractmethod
    def free(self, owner_id: str, loss: Loss | None) -> None:
        """Delete the row of an owner, and release its runs: no owner, token 0.

        Its runs without a status are deleted. They have stored nothing.

        Args:
            owner_id: The owner.
            loss: What became of it, stored in the `lost` of its runs. None changes none.
        """

    @abstractmethod
    def note_draining(self, owner_id: str) -> None:
        """Note that an owner has begun to drain, until its row is deleted."""


_public.publish("aiocheckpoint.handlers.leased", globals(), ["StoreConnection"])
