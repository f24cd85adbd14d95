"""Queries for lists of runs, and the order of a list."""

from collections.abc import Iterable
from typing import NamedTuple

from aiocheckpoint._model.header import Header, Status

__all__ = ["Query", "id_key", "order_key", "select"]


class Query(NamedTuple):
    """A query for runs, ordered by the time they began, newest first.

    Attributes:
        statuses: Only runs with one of these statuses. None for all.
        limit: The most headers in the list. None for all.
        after: The last header of the page before. None for the first page.
        unowned: Leave out runs that a live process owns, where the handler knows owners. Runs
            whose owner has died are listed.
        written_before: Seconds since the epoch. Only runs whose newest snapshot is older.
    """

    statuses: frozenset[Status] | None = None
    limit: int | None = None
    after: Header | None = None
    unowned: bool = False
    written_before: float | None = None

    def wants(self, header: Header) -> bool:
        """Whether the run of a header matches, apart from `limit` and `unowned`."""
        return (
            (self.statuses is None or header.status in self.statuses)
            and (self.after is None or order_key(header) < order_key(self.after))
            and (self.written_before is None or header.written_at < self.written_before)
        )


def select(headers: Iterable[Header], query: Query) -> list[Header]:
    """Filter and order headers by a query, for handlers without an index."""
    wanted = sorted(filter(query.wants, headers), key=order_key, reverse=True)
    return wanted[: query.limit]


def order_key(header: Header) -> tuple[float, bytes]:
    """The key of a list's order, from the greatest down."""
    return header.started_at, id_key(header.run_id)


def id_key(run_id: str | None) -> bytes:
    """A run id as bytes in UTF-8. Empty for None, as no id is empty."""
    return b"" if run_id is None else run_id.encode("utf-8", "surrogatepass")
