"""Lists and counts of runs, by the names of index objects.

A name is a hint. The object of the run decides, and has its present name. A list puts a name that
is missing, and deletes one that an earlier state has left.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint.errors import CheckpointError, CorruptSnapshotError
from aiocheckpoint.handlers.leased._rows import RunRow
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._names import NO_RUN, IndexName, bytes_of, stored_id
from aiocheckpoint.handlers.objects._owners_view import owned_row
from aiocheckpoint.handlers.objects._reading import read_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.objects._bucket import Bucket, Listed
    from aiocheckpoint.handlers.objects._names import Keys
    from aiocheckpoint.handlers.objects._owners_view import KnownOwner, OwnersView
    from aiocheckpoint.handlers.objects._run_object import RunHead

__all__ = ["RunLister", "count_statuses"]

_KINDS = "open", "done"
_LEAST_MORE, _MOST_READ = 50, 500
"""Runs that are read at once: as many as are asked for, and then more, as some had other names."""
_OLD = timedelta(days=1)
"""A name of a run that is not there may be that of a run that is about to be there."""


class _Name(NamedTuple):
    """An index object in a list.

    Attributes:
        kind: Its folder.
        listed: It.
        facts: What its name says.
    """

    kind: str
    listed: Listed
    facts: IndexName

    @property
    def name(self) -> str:
        """Its name below the flow."""
        return f"{self.kind}/{self.listed.name}"


class RunLister:
    """Lists the runs of a flow.

    Args:
        bucket: The bucket.
        keys: Its keys.
        owners: The objects of owners.
        flow: The flow as the store has it.
        query: Which runs.
        after: The last row of the page before, or None.
    """

    def __init__(  # noqa: PLR0917 - all are needed
        self,
        bucket: Bucket,
        keys: Keys,
        owners: OwnersView,
        flow: str | bytes,
        query: Query,
        after: RunRow | None,
    ) -> None:
        self._bucket, self._keys, self._view = bucket, keys, owners
        self._query, self._after = query, after
        self._folder = keys.flow(flow)
        self._owners: dict[str, KnownOwner] = {}
        self._listed: set[str] = set()
        self._present: dict[str, IndexName] = {}
        self._stale: list[str] = []

    async def rows(self) -> list[RunRow]:
        """List runs in the order of the query.

        Raises:
            StorageError: The store cannot be read.
        """
        self._owners = await self._view.all()
        names = self._due_names() if self._query.due_before is not None else self._newest_names()
        rows: list[RunRow] = []
        limit = self._query.limit
        async for some in self._batches(names):
            rows += await self._read(some)
            if limit is not None and len(rows) >= limit:
                break
        rows.sort(key=self._key, reverse=self._query.due_before is None)
        return rows[:limit]

    def _key(self, row: RunRow) -> tuple[float, float, bytes]:
        return row.due or 0.0, row.started_at, bytes_of(row.run_id)

    async def _read(self, names: Sequence[_Name]) -> list[RunRow]:
        """Read runs by their names, side by side, and each once."""
        runs: dict[str, list[_Name]] = {}
        for name in names:
            runs.setdefault(name.facts.run, []).append(name)
        rows = await asyncio.gather(*map(self._row, runs.values()))
        await self._delete_stale()
        return [row for row in rows if row is not None and self._is_behind(row)]

    async def _row(self, names: Sequence[_Name]) -> RunRow | None:
        """Give the row of a run by some of its names. None where its place is elsewhere."""
        run = names[0].facts.run
        if run in self._present:
            self._note_stale(names, self._present[run])
            return None
        key = self._keys.run_of(self._folder, run)
        try:
            read = await read_run(self._bucket, key, key)
        except CorruptSnapshotError as error:
            log_left_out(error, RunPlace("", run))
            return None
        head = None if read is None else read[0].head
        if read is None or head is None or head.status is None:
            self._note_stale(names, None)
            return None
        present = IndexName.decode(head.listed_as.partition("/")[2])
        self._note_stale((one for one in names if one.name != head.listed_as), present)
        if not await self._is_here(names, head):
            return None
        if present is not None:
            self._present[run] = present
        due = None
        if self._query.due_before is not None:
            due = head.due if head.due is not None and head.due > 0 else head.started_at
        owned = owned_row(head, self._owners)
        if self._query.unowned and owned.owner_id is not None:
            known = self._owners.get(owned.owner_id)
            if known is not None and not known.may_be_gone:
                return None
        run_id, found = stored_id(run, head.run_id), read[0]
        return RunRow(run_id, head.started_at, found.footer, found.payload_length, owned, due)

    async def _is_here(self, names: Sequence[_Name], head: RunHead) -> bool:
        """Whether the list has a run at these names. Puts the present name where it is missing."""
        if any(one.name == head.listed_as for one in names):
            return True
        if head.listed_as in self._listed:
            return False
        # A list of those who may only read mends nothing.
        with suppress(ConditionError, CheckpointError):
            await self._bucket.create(f"{self._folder}/{head.listed_as}", b"")
        return any(one.facts.started_at == head.started_at for one in names)

    def _note_stale(self, names: Iterable[_Name], present: IndexName | None) -> None:
        """Note names to delete: those before the present one, and of others those of a day ago."""
        before = datetime.now(UTC) - _OLD
        for name in names:
            is_before = present is not None and name.facts.is_before(present)
            if is_before or name.listed.changed_at < before:
                self._stale.append(f"{self._folder}/{name.name}")

    async def _delete_stale(self) -> None:
        stale, self._stale = self._stale, []
        with suppress(CheckpointError):
            await self._bucket.delete(stale)

    def _is_behind(self, row: RunRow) -> bool:
        if self._after is None:
            return True
        mine, last = self._key(row), self._key(self._after)
        return mine > last if self._query.due_before is not None else mine < last

    async def _due_names(self) -> AsyncIterator[list[_Name]]:
        """Give the names of runs that may be due, the one that waits longest first.

        Each list has those of one time.
        """
        before = self._query.due_before or 0.0
        found: dict[tuple[float, float], list[_Name]] = {}
        async for page in self._bucket.pages(f"{self._folder}/open"):
            for name in self._noted("open", page):
                facts = name.facts
                due = facts.due or 0.0
                if due <= before and self._may_be_chosen(facts):
                    key = due or facts.started_at
                    if self._after is None or key >= (self._after.due or 0.0):
                        found.setdefault((key, facts.started_at), []).append(name)
        for _, group in sorted(found.items()):
            yield group

    async def _newest_names(self) -> AsyncIterator[list[_Name]]:
        """Give the names of runs, the newest first. Each list has those of one time."""
        behind = "" if self._after is None else IndexName.begin_of(self._after.started_at)
        pages = [self._kind(kind, behind) for kind in self._kinds()]
        group: list[_Name] = []
        async for name in _merged(pages):
            if not self._may_be_chosen(name.facts) or self._was_listed(name):
                continue
            if group and name.facts.started_at != group[-1].facts.started_at:
                yield group
                group = []
            group.append(name)
        if group:
            yield group

    def _was_listed(self, name: _Name) -> bool:
        """Whether a run is in an earlier page of the newest runs, by its name."""
        last = self._after
        if last is None or name.facts.started_at != last.started_at or _is_hashed(name):
            return False
        return _id_of(name) >= bytes_of(last.run_id)

    async def _batches(self, groups: AsyncIterator[list[_Name]]) -> AsyncIterator[list[_Name]]:
        """Cut names into parts whose runs are read at once. A run is in one part.

        Runs of one time are in the order of their ids. Where a name has a digest of an id, these
        runs are read at once, as the order is known then.
        """
        sizes = self._sizes()
        size, some, runs = next(sizes), list[_Name](), set[str]()
        async for group in groups:
            group.sort(key=_id_of, reverse=self._query.due_before is None)
            is_ordered = not any(map(_is_hashed, group))
            for number, name in enumerate(group):
                may_end = name.facts.run not in runs and (is_ordered or not number)
                if len(runs) >= size and may_end:
                    yield some
                    size, some, runs = next(sizes), [], set()
                some.append(name)
                runs.add(name.facts.run)
        if some:
            yield some

    async def _kind(self, kind: str, behind: str) -> AsyncIterator[_Name]:
        async for page in self._bucket.pages(f"{self._folder}/{kind}", behind):
            for name in self._noted(kind, page):
                yield name

    def _noted(self, kind: str, page: Iterable[Listed]) -> list[_Name]:
        names = _names(kind, page)
        self._listed.update(name.name for name in names)
        return names

    def _kinds(self) -> Iterable[str]:
        statuses = self._query.chosen.statuses
        if statuses is None:
            return _KINDS
        kinds = ["open"] if statuses - {"finished"} else []
        return [*kinds, "done"] if "finished" in statuses else kinds

    def _may_be_chosen(self, facts: IndexName) -> bool:
        """Whether a run may be chosen, by its name alone."""
        statuses = self._query.chosen.statuses
        if statuses is not None and facts.status and facts.status not in statuses:
            return False
        if not self._query.unowned or facts.status != "running":
            return True
        known = self._owners.get(facts.owner)
        return known is None or known.may_be_gone

    def _sizes(self) -> Iterator[int]:
        """Give how many runs are read at once, time after time."""
        limit = self._query.limit
        size = _MOST_READ if limit is None else min(max(limit, 1), _MOST_READ)
        if self._query.due_before is not None and self._after is not None:
            size += 1  # The last run of the page before is among them.
        while True:
            yield size
            size = min(max(2 * size, _LEAST_MORE), _MOST_READ)


async def count_statuses(bucket: Bucket, keys: Keys, flow: str | bytes) -> Counter[str]:
    """Count the runs of a flow by status, from the names of index objects alone.

    Runs with several names are looked at.
    """
    folder = keys.flow(flow)
    statuses: dict[str, list[str]] = {}
    for kind in _KINDS:
        async for page in bucket.pages(f"{folder}/{kind}"):
            for name in _names(kind, page):
                statuses.setdefault(name.facts.run, []).append(name.facts.status)
    unclear = [run for run, found in statuses.items() if len(found) > 1]
    names = [keys.run_of(folder, run) for run in unclear]
    reads = await asyncio.gather(*(read_run(bucket, name, name) for name in names))
    for run, read in zip(unclear, reads, strict=True):
        status = None if read is None else read[0].head.status
        statuses[run] = [] if status is None else [status]
    return Counter(found[0] for found in statuses.values() if found)


def _is_hashed(name: _Name) -> bool:
    return name.facts.run[0] == NO_RUN and name.facts.run != NO_RUN


def _id_of(name: _Name) -> bytes:
    """The run id of a name, empty where the name has a digest of it."""
    return stored_id(name.facts.run, "")


def _names(kind: str, page: Iterable[Listed]) -> list[_Name]:
    found = ((one, IndexName.decode(one.name)) for one in page)
    return [_Name(kind, one, facts) for one, facts in found if facts is not None]


async def _merged(sources: Sequence[AsyncIterator[_Name]]) -> AsyncIterator[_Name]:
    """Merge lists that are in the order of their names."""
    heap: list[tuple[str, int, _Name]] = []
    for number, source in enumerate(sources):
        await _push(heap, number, source)
    while heap:
        _, number, name = heapq.heappop(heap)
        yield name
        await _push(heap, number, sources[number])


async def _push(
    heap: list[tuple[str, int, _Name]], number: int, source: AsyncIterator[_Name]
) -> None:
    name = await anext(source, None)
    if name is not None:
        heapq.heappush(heap, (name.listed.name, number, name))
