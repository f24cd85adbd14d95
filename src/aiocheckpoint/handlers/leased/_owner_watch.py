"""Which owners of a shared store are gone, by the looks of one process.

Two signs count. Either is enough:

1. The owner's session has ended, no new one was seen for half a second, and the server has been up
   for half a second longer than a heartbeat. After a restart each living owner has beaten by then.
2. The owner's beat has not moved for a whole lease.

Both times are counted between looks, on the monotonic clock of this process. No clock of another
process or machine is compared. The time between two looks counts only as far as the owner could
have beaten in it:

- from the answer to the earlier look until the later one was asked,
- at most one heartbeat, because nothing is known of what happened in a longer one,
- at most the time that the server has been up,
- not at all if this process could not commit in between, because the owner may have met the same
  outage.

A look belongs to a transaction that writes. It counts if that transaction was committed. The fence
decides in the end: an owner that was taken for gone stores nothing more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint.handlers.leased._clock import Clock

__all__ = ["SECONDS_WITHOUT_SESSION", "OwnerWatch", "WatchedOwner"]

SECONDS_WITHOUT_SESSION = 0.5


class WatchedOwner(Protocol):
    """The facts of an owner's row that a look needs."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def beat(self) -> int:
        """A number that changes with each heartbeat."""
        ...

    @property
    def lease(self) -> float:
        """Seconds without a heartbeat after which the owner is gone."""
        ...

    @property
    def session(self) -> str | None:
        """The session in which it last beat, or None where others cannot see sessions."""
        ...

    @property
    def session_open(self) -> bool | None:
        """Whether that session lives. None where the store cannot tell."""
        ...


class _Watch(NamedTuple):
    """What the looks at an owner have found.

    Attributes:
        evidence: The session and the beat of the last look.
        closed: Whether that session had ended.
        seconds: Seconds for which the evidence has been the same.
        seconds_closed: Seconds of them for which the session has ended.
        answered_at: When the last look was answered. Infinite if the time since does not count.
    """

    evidence: tuple[str | None, int]
    closed: bool
    seconds: float
    seconds_closed: float
    answered_at: float


class OwnerWatch:
    """The looks of one process at the owners of one store. Used by one thread.

    Args:
        clock: Its monotonic clock is that of this process.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._uncommitted: dict[str, _Watch] = {}

    def look(self, owner: WatchedOwner, *, seconds_up: float, asked_at: float) -> float | None:
        """Look at an owner other than this process, inside a transaction that writes.

        Args:
            owner: The owner, as this transaction has read it.
            seconds_up: How long the server has accepted writes without a restart or failover.
            asked_at: When the owner was asked for, on the clock of this watch.

        Returns:
            The seconds after which a look finds the owner gone, unless it shows a sign of life.
            None if it is gone now: this transaction may free its runs.
        """
        watch = self._continued(owner, seconds_up, asked_at)
        self._uncommitted[owner.id] = watch
        left = owner.lease - watch.seconds
        if watch.closed:
            settled = min(watch.seconds_closed, seconds_up - _heartbeat(owner))
            left = min(left, SECONDS_WITHOUT_SESSION - settled)
        # One look is never enough, not even at a row whose lease is zero.
        return None if left <= 0 < watch.seconds else max(left, 0.0)

    def committed(self) -> None:
        """Count the looks of a transaction that was committed."""
        self._watches.update(self._uncommitted)
        self._uncommitted.clear()

    def interrupted(self) -> None:
        """Note that a transaction failed, or that the store is out of reach.

        The looks of the transaction do not count. The time until the next look does not, either.
        """
        self._uncommitted.clear()
        for owner_id, watch in self._watches.items():
            self._watches[owner_id] = watch._replace(answered_at=math.inf)

    def forget_all_but(self, ids: Collection[str]) -> None:
        """Forget the looks at owners that are not among these."""
        self._watches = {key: self._watches[key] for key in ids if key in self._watches}

    def _continued(self, owner: WatchedOwner, seconds_up: float, asked_at: float) -> _Watch:
        evidence = owner.session, owner.beat
        closed = owner.session is not None and owner.session_open is False
        now, before = self._clock.monotonic(), self._watches.get(owner.id)
        if before is None or before.evidence != evidence:
            return _Watch(evidence, closed, 0.0, 0.0, now)
        passed = max(0.0, min(asked_at - before.answered_at, _heartbeat(owner), seconds_up))
        seconds_closed = before.seconds_closed + passed if closed and before.closed else 0.0
        return _Watch(evidence, closed, before.seconds + passed, seconds_closed, now)


def _heartbeat(owner: WatchedOwner) -> float:
    """Seconds between two heartbeats of an owner."""
    return owner.lease / HEARTBEATS_PER_LEASE
