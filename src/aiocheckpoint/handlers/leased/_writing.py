"""The statements of a leased store that write runs, over the one connection of the writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased._requests import Claim, Key, LeaseRecord, Release, Save
    from aiocheckpoint.handlers.leased._rows import QueuedColumns, QueuedRow, StartRow, StoredRun

__all__ = ["WritingStatements"]


class WritingStatements(ABC):
    """The statements of a `StoreConnection` that write runs, most of them for many at once.

    Each can be repeated: after a lost answer it is called once more, and the second call changes
    nothing that the first has done.
    """

    @abstractmethod
    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        """Take all runs that have no owner, and give the rows of all claims. No two are of one run.

        A run without a row gets one, with the first snapshot of its claim, or with no snapshot and
        no status. A row without an owner gets owner, token and time, and keeps its snapshot. A row
        with an owner is unchanged.

        Where the statement commits by itself, see `StoreConnection.commits_alone`, it leaves runs
        alone whose status is neither None nor "finished". The base asks again in a transaction,
        which counts their starts as well. Otherwise a process killed between both would have taken
        a run whose start is not counted.

        Nothing is taken if the owner itself has no row among the owners, because others would take
        it for dead at once. The statement locks that row against `free`, up to the commit.

        Args:
            claims: The claims. The token of each is `claim.lease.asked_token`.
            owner_id: The owner.
            now: Seconds since the epoch, as `StoredRun.since` gives it back.

        Returns:
            The rows, in any order. One that was deleted meanwhile is left out.
        """

    @abstractmethod
    def record_starts(self, starts: Sequence[StartRow]) -> None:
        """Set status and start of rows that have the tokens, and empty their `lost`."""

    @abstractmethod
    def save_steps(self, saves: Sequence[Save]) -> int:
        """Store snapshots of runs that are running and stay so, in rows that have the tokens.

        Changed are position, step (`header.next_step`), sequence, written_at, footer and payload.
        A lease whose `token` is 0 stores nothing, as that is the token of every free run.

        Over a network, no row is changed that has a greater sequence. A statement that the network
        has delayed may come after it was repeated, and the next one stored, over another
        connection.

        Returns:
            The number of rows that were written.
        """

    @abstractmethod
    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        """Store snapshots of runs that begin or end, in rows that have the tokens.

        Beside the columns of `save_steps`, these are changed: status, number, started_at,
        stopped_by, and due (`save.due`). The row keeps owner and token, unless `save.ends_run`:
        then it gets no owner and the token 0. Its `ending` is emptied if `save.clears_ending`.

        Over a network, a row of the same number and a greater sequence is changed only if
        `save.ends_run`.

        Returns:
            The number of rows that were written.
        """

    def write_together(
        self,
        claims: Sequence[Claim],
        steps: Sequence[Save],
        statuses: Sequence[Save],
        owner_id: str,
        now: float,
    ) -> tuple[list[StoredRun], int] | None:
        """Do `claim`, `save_steps` and `save_statuses` in one transaction and one round trip.

        Two of the three have members, at least, and no two members are of one run.

        Args:
            claims: As in `claim`.
            steps: As in `save_steps`.
            statuses: As in `save_statuses`.
            owner_id: The owner.
            now: As in `claim`.

        Returns:
            The rows of the claims, and the number of rows that the other two have written. None
            where the store does nothing, so that they are called one by one in a transaction.
        """
        del claims, steps, statuses, owner_id, now
        return None

    @abstractmethod
    def stored(self, saves: Sequence[Save]) -> set[int]:
        """Give the indexes of the saves whose footer is now in the row `save.lease.row`.

        It is asked where fewer rows were written than there are saves. A lease was lost, or an
        earlier try has written the row, and its answer was lost.
        """

    @abstractmethod
    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        """Give the indexes of the saves whose row has a request to terminate the run."""

    @abstractmethod
    def retain(self, saves: Sequence[Save]) -> None:
        """Keep a copy of each stored snapshot that is about to be replaced.

        Only of rows that have the token and a status. None for a save with `amends`, and none where
        number and sequence of the row are those of the save, which an earlier try has stored then.
        A copy is found by row, number and sequence. One that is there already is replaced.
        """

    @abstractmethod
    def prune(self, saves: Sequence[Save]) -> None:
        """Delete the kept copies beyond `save.lease.keep`, which counts the newest snapshot too.

        With "all", those of other runs than `save.header.number` are deleted. Else `keep - 1`
        copies stay, of the greatest sequences.
        """

    @abstractmethod
    def release(self, releases: Sequence[Release]) -> None:
        """Release rows that have the tokens: no owner, token 0.

        A row without a status is deleted. With `release.before`, the row gets its status and start.
        """

    @abstractmethod
    def delete(self, lease: LeaseRecord) -> bool:
        """Empty the row of a run, and delete its kept copies and its record of progress.

        The row itself stays with owner and token until it is released, which deletes it.

        Returns:
            Whether the row has the token.
        """

    @abstractmethod
    def insert_queued(self, common: QueuedColumns, rows: Sequence[QueuedRow]) -> set[int]:
        """Store the first snapshots of runs that nobody owns.

        Returns:
            The indexes of the runs that have another row already, which is unchanged. A row whose
            footer is the one given was inserted by an earlier try, and is none of them.
        """

    @abstractmethod
    def write_progress(self, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
        """Store records of the progress of runs, or delete those given as empty.

        Only for rows that have the token, which is not 0.
        """

    @abstractmethod
    def write_ending(self, key: Key, request: str) -> None:
        """Store a request to terminate a run, unless there is one, or the run has ended for good.

        The statuses of runs that have ended for good are those of `ENDED`.

        Args:
            key: The run.
            request: A line of ASCII.
        """

    @abstractmethod
    def clear_ending(self, lease: LeaseRecord) -> None:
        """Delete the request to terminate a run, if the row has the token, which is not 0."""

    def prune_rows(self, flow: str | bytes, query: Query, *, unsigned: bool) -> int | None:
        """Delete some hundred runs without an owner that a query asks for, with all beside them.

        Called by the writer, in a transaction, until it gives 0.

        Args:
            flow: The flow as the store has it.
            query: Which runs.
            unsigned: Whether runs with a signature stay: the 40 bytes of their footers that begin
                72 bytes before the end are not all zeros.

        Returns:
            The number of runs deleted. None where headers have to be looked at one by one.
        """
        del flow, query, unsigned
        return None
