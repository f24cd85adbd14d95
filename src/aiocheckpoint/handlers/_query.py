"""Queries for lists of runs, and the order of a list."""

from collections.abc import Iterable
from typing import NamedTuple

from aiocheckpoint._model.compatibility import is_of_other_flow
from aiocheckpoint._model.due import due_at, is_due
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint.handlers._run_filter import ALL, RunFilter

__all__ = ["Query", "due_key", "id_key", "id_text", "order_key", "select"]


class Query(NamedTuple):
    """A query for runs, ordered by the time they began, newest first, or by the time they are due.

    Attributes:
        statuses: Only runs with one of these statuses, as `where` may say as well. None for all.
        limit: The most headers in the list. None for all.
        after: The last header of the page before. None for the first page.
        unowned: Leave out runs that a live process owns, where the handler knows owners. Runs
            whose owner has died are listed.
        written_before: Seconds since the epoch. Only runs whose newest snapshot is older, as
            `where` may say as well.
        names: Names of a flow's steps. Leave out runs of another flow, which have none of them. A
            database that searches by an index does not look.
        due_before: Seconds since the epoch. Only runs that recovery may take at that time, see
            `due_at`, the one that waits longest first, see `due_key`. Usually with `unowned`, as a
            running run counts as due.
        where: Only runs that this filter chooses. `chosen` has all the conditions of a filter.
    """

    statuses: frozenset[Status] | None = None
    limit: int | None = None
    after: Header | None = None
    unowned: bool = False
    written_before: float | None = None
    names: StepNames | None = None
    due_before: float | None = None
    where: RunFilter = ALL

    @property
    def chosen(self) -> RunFilter:
        """The filter of the query: `where`, narrowed by `statuses` and `written_before`."""
        where = self.where
        if self.statuses is not None:
            both = self.statuses if where.statuses is None else self.statuses & where.statuses
            where = where._replace(statuses=both)
        if self.written_before is not None:
            before = self.written_before
            earlier = before if where.before is None else min(before, where.before)
            where = where._replace(before=earlier)
        return where

    def wants(self, header: Header) -> bool:
        """Whether the run of a header matches, apart from `limit`.

        `unowned` counts for a query by `due_before` alone. Other lists may have runs of a living
        owner where the handler does not leave them out by itself.
        """
        return (
            (self.statuses is None or header.status in self.statuses)
            and (self.due_before is None or self._is_takeable(header, self.due_before))
            and (self.after is None or self._is_behind(header, self.after))
            and (self.written_before is None or header.written_at < self.written_before)
            and (self.names is None or not is_of_other_flow(self.names, header))
            and self.where.wants(header)
        )

    def _is_takeable(self, header: Header, now: float) -> bool:
        """Whether recovery may take a run, as far as its header says who owns it."""
        return is_due(header, now) and not (self.unowned and header.owner is not None)

    def _is_behind(self, header: Header, last: Header) -> bool:
        """Whether a run comes after another one in the order of the list."""
        if self.due_before is not None:
            return due_key(header) > due_key(last)
        return order_key(header) < order_key(last)


def select(headers: Iterable[Header], query: Query) -> list[Header]:
    """Filter and order headers by a query, for handlers without an index."""
    by_due = query.due_before is not None
    key = due_key if by_due else order_key
    wanted = sorted(filter(query.wants, headers), key=key, reverse=not by_due)
    return wanted[: query.limit]


def order_key(header: Header) -> tuple[float, bytes]:
    """The key of a list's order, from the greatest down."""
    return header.started_at, id_key(header.run_id)


def due_key(header: Header) -> tuple[float, float, bytes]:
    """The key of the order by `due_before`, from the smallest up.

    A run that is due at once has waited since it was begun or queued. So no run that is due again
    waits for ever behind those that are queued without a time.
    """
    return due_at(header) or header.started_at, *order_key(header)


def id_key(run_id: str | None) -> bytes:
    """A run id as bytes in UTF-8. Empty for None, as no id is empty."""
    return b"" if run_id is None else run_id.encode("utf-8", "surrogatepass")


def id_text(stored: bytes) -> str:
    """The text of such bytes. Others, of another program, become a text that no run has."""
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")
