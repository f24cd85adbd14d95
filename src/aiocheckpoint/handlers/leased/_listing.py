"""Lists of headers, a page of rows at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._model.due import is_due
from aiocheckpoint._model.start_record import shown_header
from aiocheckpoint.handlers._query import Query, due_key
from aiocheckpoint.handlers.leased._ownership import known_of
from aiocheckpoint.handlers.leased._rows import OwnedRow, RunRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased._store import StorePlace

__all__ = ["chosen_headers", "completed", "listed_headers", "page_begin", "stored_text"]

_LEAST_PAGE, _PAGE = 50, 500
_Row = TypeVar("_Row")


def listed_headers(
    list_rows: Callable[[Query, _Row | None], list[_Row]],
    query: Query,
    header_of: Callable[[_Row], Header | None],
    *,
    decided: bool,
) -> list[Header]:
    """List the headers of a flow's runs, in the order of the query.

    Args:
        list_rows: Lists the rows of a query, behind the last row of the page before.
        query: Which runs.
        header_of: Gives the header of a row, or None for a run that is not in the list.
        decided: Whether the rows are all of chosen runs, apart from damaged ones.
    """
    headers: list[Header] = []
    last: _Row | None = None
    while True:
        most = None if query.limit is None else query.limit - len(headers)
        size = most if decided else max(most or 0, _LEAST_PAGE if last is None else _PAGE)
        rows = list_rows(query._replace(limit=size), last)
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


def completed(header: Header, row: RunRow, query: Query) -> Header | None:
    """Add owner and starts to the header of a row, and the columns by which lists are ordered.

    A time that another program has changed in the row alone would make a list whose pages have no
    end.

    Returns:
        The header. None for a run that the query does not choose.
    """
    columns = stored_text(row.run_id) or None, row.started_at
    if (header.run_id, header.started_at) != columns:
        header = replace(header, run_id=columns[0], started_at=columns[1])
    if not (header.finished and row.owned.owner_id is None):
        header = shown_header(header, known_of(row.owned))
    if not query.chosen.wants(header):
        return None
    return header if query.due_before is None else _if_due(header, row.due, query.due_before)


def page_begin(query: Query, store: StorePlace) -> RunRow | None:
    """The place of the last header of the page before, as a row. None for a first page."""
    last = query.after
    if last is None:
        return None
    due = None if query.due_before is None else due_key(last)[0]
    run_id = store.text(last.run_id or "")
    return RunRow(run_id, last.started_at, b"", 0, OwnedRow(None, None, None, None), due)


def _if_due(header: Header, due: float | None, before: float) -> Header | None:
    """The header of a run that is due, with the time by which the list is ordered, or None.

    The header decides. But the list is ordered by the column, and the next page begins behind the
    last header. A run that cannot have the time of the column is left out.
    """
    if not is_due(header, before):
        return None
    if due_key(header)[0] != due:
        header = replace(header, due=due or None)
    return header if due_key(header)[0] == due else None


def stored_text(stored: str | bytes) -> str:
    """Give the text that `StorePlace.text` has made. Other bytes become a text that nothing has."""
    if isinstance(stored, str):
        return stored
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")
