"""Lists of headers, a page of rows at a time where the headers decide which runs are in them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.sqlite._conditions import is_decided
from aiocheckpoint.handlers.sqlite._listing import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.sqlite._database import Database
    from aiocheckpoint.handlers.sqlite._listing import Row

__all__ = ["chosen_headers", "listed_headers"]

_LEAST_PAGE, _PAGE = 50, 500


def listed_headers(
    database: Database,
    flow: str | bytes,
    query: Query,
    header_of: Callable[[Row], Header | None],
) -> list[Header]:
    """List the headers of a flow's runs, in the order of the query.

    Args:
        database: The database.
        flow: The flow as the table has it.
        query: Which runs.
        header_of: Gives the header of a row, or None for a run that is not in the list.
    """
    headers: list[Header] = []
    decided = is_decided(query.chosen)
    last: Row | None = None
    while True:
        most = None if query.limit is None else query.limit - len(headers)
        size = most if decided else max(most or 0, _LEAST_PAGE if last is None else _PAGE)
        with database.reading() as connection:
            rows = listed(connection, flow, query._replace(limit=size), last)
        headers += islice(filter(None, map(header_of, rows)), most)
        # Runs left out are made up for, so that an empty page is always the last.
        if size is None or len(rows) < size or len(headers) == query.limit:
            return headers
        last = rows[-1]


def chosen_headers(
    list_runs: Callable[[Query], list[Header]], where: RunFilter
) -> Iterator[Header]:
    """Give the headers of the chosen runs one by one.

    Args:
        list_runs: Lists the runs of a query.
        where: Chooses the runs.
    """
    query = Query(limit=_PAGE, where=where)
    while headers := list_runs(query):
        yield from headers
        query = query._replace(after=headers[-1])
