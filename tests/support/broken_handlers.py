"""Handlers whose locks, lists or prunings are broken in one way each."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal

from aiocheckpoint import LocalStateHandler, RunInProgressError
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers._query import Query, order_key, select
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterator, Sequence

    from aiocheckpoint import CheckpointError, Header
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint.handlers import CountBy, FoundSnapshot, Lock, RunFilter, SnapshotTarget


class FakeLock:
    """A lock that always claims to be held."""

    held = True

    def __init__(self, lock: Lock | None = None) -> None:
        """Wrap a sound lock, or none."""
        self._lock = lock

    def acquire(self) -> None:
        """Acquire the sound lock."""
        if self._lock is not None:
            self._lock.acquire()

    def release(self) -> None:
        """Release the sound lock."""
        if self._lock is not None:
            self._lock.release()


class AlwaysHeld(LocalStateHandler):
    """Has locks that always claim to be held."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give such a lock."""
        return FakeLock(super().lock(run_id))


class TrustsItsLock(LocalStateHandler):
    """Does not look whether the file of its lock is still there."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give a lock without a fence."""
        lock = super().lock(run_id)
        lock.check = lambda: None  # type: ignore[method-assign]
        return lock


class ReadsNothingLocked(LocalStateHandler):
    """Reads no run that another owner has locked."""

    locked_runs: ClassVar[set[str | None]] = set()

    @contextlib.contextmanager
    def locked(self, run_id: str | None = None) -> Generator[Lock, None, None]:
        """Note the run for the time of its lock."""
        with super().locked(run_id) as lock:
            self.locked_runs.add(run_id)
            try:
                yield lock
            finally:
                self.locked_runs.discard(run_id)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Refuse to read a locked run."""
        if run_id in self.locked_runs:
            raise RunInProgressError(self.locate(run_id))
        return super().open(run_id, kept)


class CountsNoStarts(LocalStateHandler):
    """Keeps no record of starts."""

    def write_start(
        self, run_id: str | None, record: StartRecord | None, *, lock: Lock | None = None
    ) -> None:
        """Forget it."""


class KeepsStarts(LocalStateHandler):
    """Keeps the record of a start where it should be deleted."""

    def write_start(
        self, run_id: str | None, record: StartRecord | None, *, lock: Lock | None = None
    ) -> None:
        """Write it, and take none back."""
        if record is not None and record.running:
            super().write_start(run_id, record, lock=lock)


class ForgetsEndings(LocalStateHandler):
    """Keeps no request to terminate a run."""

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Forget it."""


class KeepsEndings(LocalStateHandler):
    """Deletes no request to terminate a run."""

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Keep it."""


class TakesTheLastEnding(LocalStateHandler):
    """Lets a later request replace the first one."""

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Write it in any case."""
        with contextlib.suppress(FileNotFoundError):
            Path(self.locate(run_id)).with_name(f".{Path(self.locate(run_id)).name}.end").unlink()
        super().write_ending(run_id, reason)


class OneEndingForAll(LocalStateHandler):
    """Has one request for all of its runs."""

    def read_ending(self, run_id: str | None, *, lock: Lock | None = None) -> str | None:
        """Read that of one fixed run."""
        del run_id, lock
        return super().read_ending("ending")


class OneLockForAll(LocalStateHandler):
    """Has one lock for all of its runs."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give the lock of one fixed run."""
        return super().lock("one")


class Replaces(LocalStateHandler):
    """A base for handlers that replace in another way than asked for."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """The lock to replace under."""
        return lock

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace under another lock."""
        return super().replace(run_id, write_to, amends, lock=self.trusted(run_id, lock))


class Unfenced(Replaces):
    """Accepts writes of a run that has lost its lock."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Treat the lock as held."""
        return None if lock is None else FakeLock()


class FencedIfFree(Replaces):
    """Notices a lost lock only while the lock is free."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Treat a lock as held while another run holds it."""
        if lock is None or lock.held:
            return lock
        with contextlib.suppress(RunInProgressError), self.locked(run_id):
            return lock
        return FakeLock()


class StealsLocks(Replaces):
    """Replaces without a lock a snapshot that another run has locked."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Treat the lock as held."""
        return FakeLock() if lock is None else lock


class RaisesTooLate(Replaces):
    """Notices a lost lock only after the snapshot is replaced."""

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace, and check the lock afterwards."""
        done = super().replace(run_id, write_to, amends, lock=FakeLock())
        if lock is not None and not lock.held:
            raise LeaseLostError(self.locate(run_id))
        return done


class ReleasesEarly(Replaces):
    """Releases the lock of a running run with each snapshot."""

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace, and release the lock."""
        done = super().replace(run_id, write_to, amends, lock=lock)
        if lock is not None:
            lock.release()
        return done


class RemovesAnyway(LocalStateHandler):
    """Deletes under a lock that is not held."""

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Treat the lock as held."""
        super().remove(run_id, lock=None if lock is None else FakeLock())


class TakesAny(LocalStateHandler):
    """Accepts the snapshot of any run in place of the requested one."""

    def check_run(self, header: Header, run_id: str | None, location: str) -> None:
        """Check nothing."""


class Lists(LocalStateHandler):
    """Lists in another way than asked for."""

    order: Callable[[list[Header], Query], list[Header]] = staticmethod(select)

    def runs(self, query: Query) -> list[Header]:
        """Reorder the whole list."""
        return type(self).order(super().runs(Query()), query)


def by_index(headers: list[Header], query: Query) -> list[Header]:
    """Start after the position of a run that may have been deleted."""
    ids = [header.run_id for header in headers]
    start = 0 if query.after is None else ids.index(query.after.run_id) + 1
    return headers[start:][: query.limit]


def by_time(headers: list[Header], query: Query) -> list[Header]:
    """Start after a moment at which several runs began."""
    after = query.after
    later = [one for one in headers if after is None or one.started_at < after.started_at]
    return later[: query.limit]


def with_the_last(headers: list[Header], query: Query) -> list[Header]:
    """Begin each page with the last of the one before."""
    after = query.after
    rest = [one for one in headers if not after or order_key(one) <= order_key(after)]
    return rest[: query.limit]


WRONG_ORDERS: dict[str, Callable[[list[Header], Query], list[Header]]] = {
    "oldest first": lambda headers, query: select(headers, query)[::-1],
    "made up": lambda headers, query: [replace(one, sequence=0) for one in headers],
    "endless": lambda headers, query: headers,
    "any status": lambda headers, query: select(headers, query._replace(statuses=None)),
    "cut first": lambda headers, query: select(headers[: query.limit], query),
    "nothing waits": lambda headers, query: select(
        headers, query._replace(statuses=query.statuses and query.statuses - {"paused"})
    ),
    "no reason": lambda headers, query: [
        replace(one, pause=None) for one in select(headers, query)
    ],
    "folded": lambda headers, query: [
        replace(one, run_id=(one.run_id or "").lower()) for one in select(headers, query)
    ],
    "same page": lambda headers, query: select(headers, query._replace(after=None)),
    "at any time": lambda headers, query: select(headers, query._replace(due_before=None)),
    "by start": lambda headers, query: select(
        select(headers, query._replace(limit=None)), query._replace(due_before=None)
    ),
    "endless if due": lambda headers, query: select(headers, query._replace(limit=None)),
    "by index": by_index,
    "by time": by_time,
    "unfiltered": lambda headers, query: select(headers, query._replace(where=ALL)),
    "filtered last": lambda headers, query: [
        *filter(query.where.wants, select(headers, query._replace(where=ALL)))
    ],
    "with the last": with_the_last,
    "any age": lambda headers, query: select(headers, query._replace(written_before=None)),
}


class Prunes(LocalStateHandler):
    """Prunes in another way than asked for."""

    fault = ""

    def prune(self, query: Query) -> int:
        """Do one thing wrong."""
        if self.fault == "status":
            query = query._replace(statuses=None)
        if self.fault != "lock":
            count = super().prune(query)
            return count + (self.fault == "count")
        found = self.runs(query)
        for header in found:
            super().remove(header.run_id, lock=FakeLock())
        return len(found)


class Counts(LocalStateHandler):
    """Counts in a wrong way.

    Attributes:
        miscount: Makes the wrong counts of the right ones.
    """

    miscount: Callable[[dict[str | None, int]], dict[str | None, int]]

    def counts(self, by: Literal["status", "step"]) -> dict[str | None, int]:
        """Give the wrong counts."""
        return type(self).miscount(super().counts(by))


class HidesFromReaders(LocalStateHandler):
    """Lists its runs, and finds none of them for readers."""

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find nothing."""
        yield from ()


class CountsAll(LocalStateHandler):
    """Counts all runs, whatever is asked for."""

    def tally(
        self, facts: tuple[CountBy, ...], where: RunFilter
    ) -> dict[tuple[str | None, ...], int]:
        """Pass over the filter."""
        del where
        return super().tally(facts, ALL)


MISCOUNTS: dict[str, Callable[[dict[str | None, int]], dict[str | None, int]]] = {
    "no failures": lambda counts: {one: counts[one] for one in counts if one != "failed"},
    "no other step": lambda counts: {one: 4 if one is None else counts[one] for one in counts},
    "one too many": lambda counts: {one: count + 1 for one, count in counts.items()},
}
"""Wrong counts, by their fault."""


class BackupOfNothing(LocalStateHandler):
    """Makes a place for a copy, with nothing in it."""

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Make an empty directory."""
        Path(path).mkdir()


class BackupOverAll(LocalStateHandler):
    """Copies over what is there."""

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Delete what is at the path, and copy."""
        for file in Path(path).parent.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        super().backup(path)


class LosesAtClose(LocalStateHandler):
    """Forgets all when it is closed."""

    def close(self) -> None:
        """Delete what is stored, unless it is locked."""
        for header in self.runs(Query()):
            with contextlib.suppress(RunInProgressError):
                self.remove(header.run_id)


class ForgetsEnds(Replaces):
    """Says that the end of every tenth run is stored, and stores nothing."""

    ends = 0

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Write a tenth end to nowhere."""
        memory = MemoryTarget()
        header = write_to(memory)
        self.ends += header.finished
        if header.finished and self.ends % 10 == 0:
            return header, len(memory.getvalue())
        return super().replace(run_id, write_to, amends, lock=lock)


class InsertsOver(LocalStateHandler):
    """Inserts runs over what is stored of them."""

    async def insert_runs(
        self, common: Header, runs: Sequence[tuple[str, dict[str, Any]]], backend: Backend
    ) -> list[Header | CheckpointError | None]:
        """Store them all."""
        return [self._put(replace(common, run_id=run_id), state) for run_id, state in runs]

    def _put(self, header: Header, state: dict[str, Any]) -> Header:
        write_to = partial(self.codec.write, header, state, None)
        return self.replace(header.run_id, write_to)[0]


class InsertsNothing(LocalStateHandler):
    """Says that runs are stored, and stores none."""

    async def insert_runs(
        self, common: Header, runs: Sequence[tuple[str, dict[str, Any]]], backend: Backend
    ) -> list[Header | CheckpointError | None]:
        """Store nothing."""
        return [replace(common, run_id=run_id) for run_id, _ in runs]
