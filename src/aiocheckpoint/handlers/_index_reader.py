"""The reader of a database with an index: lists, counts and sums by columns and footers alone."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, cast

from aiocheckpoint._model.start_record import Ownership
from aiocheckpoint.errors import CorruptSnapshotError, StorageError
from aiocheckpoint.handlers._filter_columns import FACTS_OF_COLUMNS, is_in_columns
from aiocheckpoint.handlers._found_runs import FoundRun, examined
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._index_rows import Choice
from aiocheckpoint.handlers._locations import format_location
from aiocheckpoint.handlers._reader import StoreReader, count_found
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.header import Status
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._index_rows import FoundRow, IndexRows, KeptRow
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["IndexReader"]


class IndexReader(StoreReader):
    """Reads a database by its indexes and columns.

    Args:
        handler: The handler of the database.
        secret: As for `StoreReader`.
    """

    has_index = True

    def __init__(self, handler: WholeStorePort, secret: Secrets | None = None) -> None:
        super().__init__(handler, secret)
        self._of_single_runs: IndexRows | None = None
        self._stack = ExitStack()

    @property
    @abstractmethod
    def place(self) -> str:
        """The database, for messages."""

    @property
    @abstractmethod
    def is_there(self) -> bool:
        """Whether there is a database to look at. It may be another program's."""

    @abstractmethod
    def rows(self) -> AbstractContextManager[IndexRows]:
        """Open the rows for the time of a `with` block.

        Raises:
            StorageError: The database cannot be read, or has no tables yet.
            IncompatibleSnapshotError: Its tables are of a later version of this library.
        """

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows that have a run here, found by an index."""
        with self.rows() as rows:
            return tuple(rows.flow_names())

    def found(self, flow: str, where: RunFilter = ALL) -> Iterator[FoundRun]:
        """Find runs in the order of their rows."""
        return self._chosen(Choice(flow, where))

    def runs(
        self, flow: str, where: RunFilter, sort: Sort, limit: int | None
    ) -> Iterator[FoundRun]:
        """Find runs in the order of a list. Those that began last are found by an index."""
        return self._chosen(Choice(flow, where, sort, limit))

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run by the index of ids."""
        names = (flow,) if flow else self.flow_names()
        with self.rows() as rows:
            for name in names:
                for row in rows.rows_of_run(name, run_id):
                    yield self._examined(row)

    def kept(self, run: FoundRun, most: int | None = None) -> list[FoundRun]:
        """List the kept snapshots of a run by their footers, newest first."""
        kept = self._kept_open().kept(_row_of(run), most)
        return [self._examined_kept(run, one) for one in kept]

    def progress_bytes(self, run: FoundRun) -> bytes | None:
        """Read the record of the progress of a run by the id of its row."""
        return self._kept_open().progress(_row_of(run))

    def open(self, run: FoundRun) -> BinaryIO | None:
        """Read a snapshot into memory."""
        found = self._kept_open().snapshot(_row_of(run), run.kept)
        return None if found is None else io.BytesIO(b"%b%b" % found)

    def close(self) -> None:
        """Close the rows from which single snapshots are read."""
        self._of_single_runs = None
        self._stack.close()

    def _kept_open(self) -> IndexRows:
        """The rows from which single snapshots are read, open until the next `close`."""
        if self._of_single_runs is None:
            self._of_single_runs = self._stack.enter_context(self.rows())
        return self._of_single_runs

    def counts(self, flow: str, by: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count runs by columns, where these have the facts. Else, or of damaged ones, by headers.

        The errors of finished runs are None, so that only the headers of the others are read.
        """
        try:
            with self.rows() as rows:
                counts, rest = _counted(rows, flow, by, where)
        except StorageError as error:
            if not error.damaged:
                raise
            return super().counts(flow, by, where)
        if rest is not None:
            found = self._chosen(Choice(flow, rest, "began"))
            counts = dict(Counter(counts) + Counter(count_found(found, by)))
        return counts

    def summaries(self) -> list[FlowSummary]:
        """Sum up each flow by columns. Only of a damaged database all headers are looked at."""
        found: list[FlowSummary] = []
        try:
            with self.rows() as rows:
                for name in rows.flow_names():
                    newest = next(self.runs(name, ALL, "began", 1), None)
                    header = None if newest is None else newest.header
                    steps = () if header is None else header.step_names.names
                    found.append(rows.summary(name)._replace(steps=steps))
        except StorageError as error:
            if not error.damaged:
                raise
            return super().summaries()
        return found

    def newest_finished(self, flow: str, limit: int) -> list[FoundRun]:
        """Find the finished runs that were stored first most recently, by an index."""
        with self.rows() as rows:
            ids = rows.newest_finished(flow, limit)
            return [self._examined(row) for row in rows.rows(ids)]

    def snapshots_of_run(self, flow: str, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find the snapshot of a run, in each flow that has it. See `find_snapshots` of handlers.

        Args:
            flow: Name of the flow. Empty for all.
            run_id: The run, or None.
        """
        if self.is_there:
            with self:
                rows = self._kept_open()
                for name in (flow,) if flow else rows.flow_names():
                    yield from map(self._as_found, rows.rows_of_run(name, run_id))

    def snapshots_of_flow(self, flow: str) -> Iterator[FoundSnapshot]:
        """Find the snapshots of all runs of a flow, or of all flows, in the order of their rows."""
        if self.is_there:
            with self:
                yield from map(self._as_found, self._kept_open().chosen(Choice(flow, ALL)))

    def _as_found(self, row: FoundRow) -> FoundSnapshot:
        location = format_location(self.place, row.flow, row.run_id)
        run = FoundRun(location, row.run_id, row.flow, key=row.id)
        known = row.known or Ownership()
        return FoundSnapshot(location, row.run_id, row.flow, partial(self.open, run), known)

    def _chosen(self, choice: Choice) -> Iterator[FoundRun]:
        return islice(self._all_chosen(choice), choice.limit)

    def _all_chosen(self, choice: Choice) -> Iterator[FoundRun]:
        with self.rows() as rows:
            takes_damaged = rows.decides(choice.where)
            for row in rows.chosen(choice):
                run = self._examined(row)
                fits = takes_damaged if run.header is None else choice.where.wants(run.header)
                if fits:
                    yield run

    def _examined(self, row: FoundRow) -> FoundRun:
        location = format_location(self.place, row.flow, row.run_id)
        found = FoundRun(location, row.run_id, row.flow, key=row.id)
        if row.lost is not None:
            return found._replace(error=CorruptSnapshotError(location, row.lost))
        footer, length = row.footer, row.payload_length
        return examined(
            found._replace(size=length + len(footer)),
            lambda codec: codec.peek(footer, length, location),
            self.codec_of,
            row.known,
        )

    def _examined_kept(self, run: FoundRun, kept: KeptRow) -> FoundRun:
        footer, length = kept.footer, kept.payload_length
        found = run.kept_as(kept.number, kept.sequence)._replace(size=length + len(footer))
        return examined(
            found, lambda codec: codec.peek(footer, length, found.location), self.codec_of, None
        )


def _row_of(run: FoundRun) -> int:
    return cast("int", run.key)


def _counted(
    rows: IndexRows, flow: str, by: tuple[CountBy, ...], where: RunFilter
) -> tuple[Counts, RunFilter | None]:
    """Count what columns can count. Give the filter of the rest too, or None for no rest."""
    if not by and where == ALL:
        number = rows.total(flow)
        return {(): number} if number else {}, None
    if not is_in_columns(where):
        return {}, where
    if FACTS_OF_COLUMNS.issuperset(by):
        return rows.counts(flow, by, where), None
    return _counted_finished(rows, flow, by, where)


def _counted_finished(
    rows: IndexRows, flow: str, facts: tuple[CountBy, ...], where: RunFilter
) -> tuple[Counts, RunFilter]:
    """Count the finished ones of the chosen runs by columns, as their error is None.

    Returns:
        Their numbers, and the filter of the chosen runs that have not finished.
    """
    found = rows.counts(flow, ("status",), where)
    unfinished = frozenset(str(status) for (status,) in found) - {"finished"}
    rest = where._replace(statuses=cast("frozenset[Status]", unfinished))
    if ("finished",) not in found:
        return {}, rest
    finished = where._replace(statuses=frozenset(("finished",)))
    at = facts.index("error")
    counts = rows.counts(flow, facts[:at] + facts[at + 1 :], finished)
    return {(*key[:at], None, *key[at:]): number for key, number in counts.items()}, rest
