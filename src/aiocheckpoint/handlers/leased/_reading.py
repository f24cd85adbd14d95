"""The statements of a leased store that read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.leased._rows import OwnedRow, RunRow

__all__ = ["ReadingStatements"]


class ReadingStatements(ABC):
    """The statements of a `StoreConnection` that read. They need no transaction.

    They are called on connections for reading. By default the writer calls two of them as well, in
    its transaction: `read_footer` for `StoreConnection.stored`, `read_ending` for `with_ending`.
    """

    @abstractmethod
    def read_snapshot(self, key: Key, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        """Read payload and footer of the newest snapshot, or of a kept one.

        Args:
            key: The run.
            kept: Number and sequence of a kept one, or None.

        Returns:
            Both, or None where nothing such is stored.
        """

    def read_footer(self, key: Key) -> tuple[bytes, int] | None:
        """Read the footer of the newest snapshot and the length of its payload, or give None.

        By default by `read_snapshot`, which reads the payload as well.
        """
        found = self.read_snapshot(key, None)
        return None if found is None else (found[1], len(found[0]))

    @abstractmethod
    def read_kept(self, key: Key) -> list[tuple[int, int]]:
        """Read number and sequence of each kept snapshot of a run, the greatest sequence first."""

    @abstractmethod
    def read_progress(self, key: Key) -> bytes | None:
        """Read the record of the progress of a run, or give None."""

    @abstractmethod
    def read_ending(self, key: Key) -> str | None:
        """Read the request to terminate a run, or give None."""

    @abstractmethod
    def read_endings(self, flow: str | bytes) -> dict[str | bytes, str]:
        """Read the requests to terminate runs of a flow, by the run ids as the store has them."""

    @abstractmethod
    def read_ownership(self, key: Key) -> OwnedRow | None:
        """Read the columns of a run beside its snapshot, or give None where nothing is stored."""

    @abstractmethod
    def list_runs(self, flow: str | bytes, query: Query, after: RunRow | None) -> list[RunRow]:
        """List runs of a flow that have a snapshot, in the order of the query.

        The order is that of `started_at` and the bytes of the run id, the greatest first. With
        `query.due_before` it is that of `due_key`, the smallest first.

        The list has all runs that the query chooses, up to its limit, and may have others as well:
        each header is looked at once more. `query.unowned` is for runs without an owner, as the
        owners that are gone have been freed before. Its `names` need no look.

        Args:
            flow: The flow as the store has it.
            query: Which runs. Its `limit` is the most rows to give, None for all.
            after: The last row of the page before, of which `run_id`, `started_at` and `due` count.
                None for a first page. It is there for `query.after` too, which needs no look.
        """

    def decides(self, where: RunFilter) -> bool:
        """Whether lists have no other runs than this filter chooses. They take smaller pages then.

        Args:
            where: A filter, as `Query.chosen` gives it.
        """
        del where
        return False

    def tally(
        self, flow: str | bytes, facts: tuple[CountBy, ...], where: RunFilter
    ) -> Counts | None:
        """Count runs by facts of their columns.

        Args:
            flow: The flow as the store has it.
            facts: The facts to count by. Empty for the number of all alone.
            where: Which runs.

        Returns:
            The number of runs for each combination of facts. None where headers have to be counted.
        """
        del flow, facts, where
        return None
