"""Which runs a list shows, and in what order."""

from collections.abc import Iterable
from typing import NamedTuple

from aiocheckpoint._model.header import Header, Status

__all__ = ["Query", "id_key", "place_in_list", "select"]


class Query(NamedTuple):
    """What to list: runs by the time that they began, newest first.

    Attributes:
        statuses: Those of the runs wanted; None for all.
        limit: The most that are listed; None for all.
        after: The header that the list goes on behind, the last of the page before; None from the
            newest run on.
        unowned: Whether runs that are under way are left out, where the handler can tell at once;
            those of owners that are gone are not.
        written_before: Seconds since the epoch: only runs whose newest snapshot is older.
    """

    statuses: frozenset[Status] | None = None
    limit: int | None = None
    after: Header | None = None
    unowned: bool = False
    written_before: float | None = None

    def wants(self, header: Header) -> bool:
        """Whether the run of a header belongs into the list, `limit` aside."""
        return (
            (self.statuses is None or header.status in self.statuses)
            and (self.after is None or place_in_list(header) < place_in_list(self.after))
            and (self.written_before is None or header.written_at < self.written_before)
        )


def select(headers: Iterable[Header], query: Query) -> list[Header]:
    """Pick and order what a query asks for, for handlers that have all headers at hand."""
    wanted = sorted(filter(query.wants, headers), key=place_in_list, reverse=True)
    return wanted[: query.limit]


def place_in_list(header: Header) -> tuple[float, bytes]:
    """What lists are ordered by, from the greatest down."""
    return header.started_at, id_key(header.run_id)


def id_key(run_id: str | None) -> bytes:
    """A run id as bytes: its UTF-8 form; empty, as no id is, for None."""
    return b"" if run_id is None else run_id.encode("utf-8", "surrogatepass")
