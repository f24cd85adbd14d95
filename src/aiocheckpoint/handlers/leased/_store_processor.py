"""The processor of a store that is reached by a `LeasedStore`, and may be out of reach."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers.leased._claims import ask, set_claimed
from aiocheckpoint.handlers.leased._listener import FREED, is_told_if_attended
from aiocheckpoint.handlers.leased._news import news_of
from aiocheckpoint.handlers.leased._processor import LeasedProcessor
from aiocheckpoint.handlers.leased._requests import Claim, Execute, Release
from aiocheckpoint.handlers.leased._saves import note_outcomes
from aiocheckpoint.handlers.leased._store_session import StoreSession
from aiocheckpoint.handlers.leased._writer import MOST_REQUESTS, Again

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._batches import Batch
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.leased._notices import Notices
    from aiocheckpoint.handlers.leased._patience import Patience
    from aiocheckpoint.handlers.leased._store import LeasedStore

__all__ = ["StoreProcessor"]

_SECONDS_TO_RECONNECT = 0.2
"""How soon a lost connection is noticed and replaced. Others wait half a second for a new one, see
`OwnerWatch`. A server that refuses to write for a while, or has no connection free, gives them no
more time, as a restart does."""
_TRIES_PER_LEASE = 6
_SECONDS_APART = 5.0
"""Between two tries of a request that a lock holds up, where there are other requests."""
_OF_ONE_REQUEST = (StorageError, ValueError, OverflowError, TypeError, MemoryError)


class StoreProcessor(LeasedProcessor[StoreSession]):
    """Carries out requests, and repeats those that a store out of reach has not answered.

    Args:
        store: The store.
        lease: Length of a lease in seconds.
        patience: Decides how long requests are repeated.
        clock: Tells the time.
        notices: Knows what other processes wait for. By default they are told nothing.
    """

    def __init__(
        self,
        store: LeasedStore,
        lease: float,
        patience: Patience,
        clock: Clock = time,
        notices: Notices | None = None,
    ) -> None:
        super().__init__(store.location, lease, partial(StoreSession, store, lease, clock), clock)
        self._patience = patience
        self._unreachable: StoreUnreachableError | None = None
        self._newly_taken: set[PendingResult[Any]] = set()
        self._notices = notices
        self._news: set[str] = set()
        # Requests that a lock or a limit holds up. Others do not wait for them.
        self._apart: set[PendingResult[Any]] = set()
        self._apart_until = -float("inf")
        self._held_up_by: StoreUnreachableError | None = None

    def apply(self, group: Sequence[PendingResult[Any]]) -> Again | None:
        """Carry out requests. Set the result or the error of each, except those to be repeated."""
        others, held_up = self._split(group)
        left: list[PendingResult[Any]] = []
        self._newly_taken = set()
        for part in _parts(others):
            left += part if left and not self._is_connected else self._carry_out(part)
        if held_up:
            left += self._held_up_left(held_up, waits=bool(others), is_out=bool(left))
        if len(left) < len(group):
            self._patience.answers.count += 1
        if not left:
            self._release_early()
        self._tell_news()
        return self._put_off(left)

    def _held_up_left(
        self, held_up: list[PendingResult[Any]], *, waits: bool, is_out: bool
    ) -> list[PendingResult[Any]]:
        """Carry out the requests that were held up one by one, and give those that still are.

        Args:
            held_up: The requests.
            waits: Whether they may wait for their next time, as there are others.
            is_out: Whether others were put off just now.
        """
        left: list[PendingResult[Any]] = []
        if waits and self._clock.monotonic() < self._apart_until:
            self._unreachable = self._unreachable or self._held_up_by
            return held_up
        for pending in held_up:
            goes_on = self._is_connected or not (is_out or left)
            left += self._carry_out([pending]) if goes_on else [pending]
        self._apart &= set(left)
        return left

    def _split(
        self, group: Sequence[PendingResult[Any]]
    ) -> tuple[list[PendingResult[Any]], list[PendingResult[Any]]]:
        """Part the requests that are held up, and later ones of their runs, from all others."""
        if not self._apart:
            return list(group), []
        late = {pending.request.key for pending in self._apart} - {None}
        held_up = [one for one in group if one in self._apart or one.request.key in late]
        return [one for one in group if one not in held_up], held_up

    def idle_timeout(self) -> float | None:
        """Seconds until the next heartbeat, release, or look at the connection is due."""
        seconds, session = super().idle_timeout(), self._session
        if seconds is None or session is None:
            return None
        if session.is_connected and not session.is_seen:
            return seconds
        return min(seconds, self._longest_pause)

    def on_idle(self) -> None:
        """Send a heartbeat, repeat the releases that failed, and replace a lost connection."""
        session = self._session
        if session is not None and session.needs_work:
            super().on_idle()
            self._tell_news()
            self._put_off([])

    def _put_off(self, left: list[PendingResult[Any]]) -> Again | None:
        error, self._unreachable = self._unreachable, None
        if error is None:
            self._patience.note_success()
            return None
        self._keep_releases(left)
        waiting = [pending for pending in left if not isinstance(pending.request, Release)]
        seconds = self._patience.wait_on(waiting, error)
        self._release_claims([pending for pending in waiting if pending.error is not None])
        again = [pending for pending in waiting if pending.error is None]
        if seconds is None:
            return None
        # A claim without an answer may have taken its run.
        if any(isinstance(pending.request, Claim) and pending.is_taken for pending in again) or (
            self.is_in_use
        ):
            seconds = min(seconds, self._longest_pause)
        return Again(seconds, again)

    @property
    def _longest_pause(self) -> float:
        """The most seconds that an owner of runs lets pass between two looks or tries."""
        is_seen = self._session is not None and self._session.is_seen
        return _SECONDS_TO_RECONNECT if is_seen else self._lease / _TRIES_PER_LEASE

    def _keep_releases(self, left: Sequence[PendingResult[Any]]) -> None:
        """Let nobody wait for a release. It is repeated with the next heartbeat."""
        if self._session is not None:
            releases = (pending.request for pending in left if isinstance(pending.request, Release))
            self._session.pending_releases += releases

    def _taken(self, group: Sequence[PendingResult[Any]]) -> Sequence[PendingResult[Any]]:
        self._newly_taken.update(one for one in group if not one.is_taken and one.take())
        return [pending for pending in group if pending.error is None]

    def _puts_off(self, group: Sequence[PendingResult[Any]], error: BaseException) -> bool:
        if not isinstance(error, StoreUnreachableError):
            return False
        for pending in group:  # Nothing of the transaction is known to be stored.
            pending.result = pending.error = None
        if self._session is None or not self._session.is_in_doubt:
            for pending in self._newly_taken:
                pending.give_back()
        self._newly_taken = set()  # Those in doubt stay taken.
        if error.is_of_statement and self._is_connected:
            if len(group) == 1:
                self._apart.update(group)
                self._apart_until = self._clock.monotonic() + _SECONDS_APART
                self._held_up_by = error
        else:
            self.disconnect()
        self._unreachable = error
        return True

    @property
    def _is_connected(self) -> bool:
        return self._session is not None and self._session.is_connected

    def _write(self, session: StoreSession, group: Sequence[PendingResult[Any]]) -> None:
        releases = session.pending_releases[:]
        super()._write(session, group)
        if self._notices is not None:
            self._news |= news_of(group, releases, self._notices, self._clock.time())

    def _tell_news(self) -> None:
        """Tell other processes what was committed. Without success they look by themselves."""
        session, news = self._session, self._news
        if session is None or not session.is_connected:
            return
        if session.has_freed:
            session.has_freed = False
            news.add(FREED)
        if news:
            self._news = set()
            attended = set(filter(is_told_if_attended, news))
            with suppress(StorageError):
                session.connection.notify(news - attended, if_attended=attended)

    def _is_of_one(self, error: BaseException) -> bool:
        """Whether an error may concern one request alone: not where no connection was made."""
        return self._is_connected and isinstance(error, _OF_ONE_REQUEST)

    def _writes_alone(self, session: StoreSession, batch: Batch) -> bool:
        if not session.connection.commits_alone:
            return False
        if batch.is_one_statement or batch.is_new:
            session.is_in_doubt = True
            self._do(session, batch)
            return True
        return batch.is_plain and self._write_together(session, batch)

    def _write_together(self, session: StoreSession, batch: Batch) -> bool:
        """Do a batch of several statements in one round trip, and say whether the store did."""
        ask(session, batch.claims)
        groups = batch.claims, batch.steps, batch.status_changes
        claims, steps, statuses = ([one.request for one in group] for group in groups)
        now, connection = self._clock.time(), session.connection
        session.is_in_doubt = True
        done = connection.write_together(claims, steps, statuses, session.owner_id, now)
        if done is None:
            session.is_in_doubt = False
            return False
        runs, written = done
        set_claimed(session, batch.claims, runs, now)
        note_outcomes(connection, batch, written)
        return True


def _parts(group: Sequence[PendingResult[Any]]) -> Iterator[list[PendingResult[Any]]]:
    """Cut requests, in their order, into those of one transaction each.

    A function has one of its own, as its error rolls it back.
    """
    part: list[PendingResult[Any]] = []
    for pending in group:
        is_function = isinstance(pending.request, Execute) and not pending.request.rows
        if part and (is_function or len(part) == MOST_REQUESTS):
            yield part
            part = []
        part.append(pending)
        if is_function:
            yield part
            part = []
    if part:
        yield part
