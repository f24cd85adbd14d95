"""Handlers whose locks, lists or prunings are broken in one way each."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint import LocalStateHandler, RunInProgressError
from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers._query import Query, order_key, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import Header
    from aiocheckpoint.handlers import Lock, SnapshotTarget


class Pretended:
    """A lock that says it is held, whatever happens."""

    held = True

    def __init__(self, lock: Lock | None = None) -> None:
        """Stand before a sound lock, or none."""
        self._lock = lock

    def acquire(self) -> None:
        """Take the sound one."""
        if self._lock is not None:
            self._lock.acquire()

    def release(self) -> None:
        """Give the sound one back."""
        if self._lock is not None:
            self._lock.release()


class AlwaysHeld(LocalStateHandler):
    """Has locks that say they are held when they are not."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give one."""
        return Pretended(super().lock(run_id))


class OneLockForAll(LocalStateHandler):
    """Has one lock for all of its runs."""

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give that of one run."""
        return super().lock("one")


class Replaces(LocalStateHandler):
    """Replaces in another way than asked for; a base."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """The lock to replace under."""
        return lock

    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace under another lock."""
        return super().replace(run_id, emit, amends, lock=self.trusted(run_id, lock))


class Unfenced(Replaces):
    """Lets who held a lock once write on."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Take it as held."""
        return None if lock is None else Pretended()


class FencedIfFree(Replaces):
    """Finds out that a lock was given back only where nobody else took it."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Take it as held where somebody holds it."""
        if lock is None or lock.held:
            return lock
        with contextlib.suppress(RunInProgressError), self.locked(run_id):
            return lock
        return Pretended()


class Overbearing(Replaces):
    """Replaces without a lock what somebody holds."""

    def trusted(self, run_id: str | None, lock: Lock | None) -> Lock | None:
        """Do as if it was held."""
        return Pretended() if lock is None else lock


class ToldTooLate(Replaces):
    """Finds out that a lock was lost when the snapshot is replaced."""

    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace, and look afterwards."""
        done = super().replace(run_id, emit, amends, lock=Pretended())
        if lock is not None and not lock.held:
            raise LeaseLostError(self.locate(run_id))
        return done


class LetsGo(Replaces):
    """Gives the lock of a run under way back with each snapshot."""

    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace, and give back."""
        done = super().replace(run_id, emit, amends, lock=lock)
        if lock is not None:
            lock.release()
        return done


class RemovesAnyway(LocalStateHandler):
    """Deletes under a lock that is not held."""

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Do as if it was."""
        super().remove(run_id, lock=None if lock is None else Pretended())


class TakesAny(LocalStateHandler):
    """Takes any run's snapshot for that of the run asked for."""

    def check_run(self, header: Header, run_id: str | None, location: str) -> None:
        """See nothing."""


class Lists(LocalStateHandler):
    """Lists in another way than asked for."""

    bend: Callable[[list[Header], Query], list[Header]] = staticmethod(select)

    def runs(self, query: Query) -> list[Header]:
        """Bend the whole list."""
        return type(self).bend(super().runs(Query()), query)


def by_index(headers: list[Header], query: Query) -> list[Header]:
    """Go on behind the place of a run that may not be there any more."""
    ids = [header.run_id for header in headers]
    start = 0 if query.after is None else ids.index(query.after.run_id) + 1
    return headers[start:][: query.limit]


def by_time(headers: list[Header], query: Query) -> list[Header]:
    """Go on behind a moment, in which several began."""
    after = query.after
    later = [one for one in headers if after is None or one.started_at < after.started_at]
    return later[: query.limit]


def with_the_last(headers: list[Header], query: Query) -> list[Header]:
    """Begin each page with the last of the one before."""
    after = query.after
    rest = [one for one in headers if not after or order_key(one) <= order_key(after)]
    return rest[: query.limit]


BENT: dict[str, Callable[[list[Header], Query], list[Header]]] = {
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
    "by index": by_index,
    "by time": by_time,
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
            super().remove(header.run_id, lock=Pretended())
        return len(found)
