"""The processor of a store that is reached by a `LeasedStore`, and may be out of reach."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers.leased._claims import ask, set_claimed
from aiocheckpoint.handlers.leased._held_up import HeldUpRequests
from aiocheckpoint.handlers.leased._listener import FREED, is_sent_if_attended
from aiocheckpoint.handlers.leased._news import news_of
from aiocheckpoint.handlers.leased._processor import LeasedProcessor
from aiocheckpoint.handlers.leased._requests import Claim, Execute, Release
from aiocheckpoint.handlers.leased._saves import note_outcomes
from aiocheckpoint.handlers.leased._store_session import StoreSession
from aiocheckpoint.handlers.leased._writer import MOST_REQUESTS, Again

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

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
        self._held_up = HeldUpRequests(clock)

    def apply(self, group: Sequence[PendingResult[Any]]) -> Again | None:
        """Carry out requests. Set the result or the error of each, except those to be repeated."""
        others, held_up = self._held_up.split(group)
        left: list[PendingResult[Any]] = []
        self._newly_taken = set()
        for part in _parts(others):
            left += part if left and not self._is_connected else self._carry_out(part)
        if self._held_up:
            is_out = bool(left) and not self._is_connected
            left += held_up if is_out else self._try_held_up(held_up)
        if len(left) < len(group):
            self._patience.answers.count += 1
        if left:
            self._keep_early_releases()
        else:
            self._release_early()
        self._tell_news()
        return self._put_off(left)

    def _try_held_up(self, waiting: list[PendingResult[Any]]) -> list[PendingResult[Any]]:
        """Try requests that are held up if it is time, and give those that still are.

        The store is asked for one of them. If it carries that one out, the others are due as well.

        Args:
            waiting: The requests. Releases that are held up are tried beside them.
        """
        held_up = self._held_up
        if held_up.seconds_to_try > 0:
            self._do_what_is_due()
            if waiting:
                self._unreachable = self._unreachable or held_up.error
            return waiting
        in_turns = held_up.in_turns(waiting)
        if not in_turns:  # They were held up just now.
            return []
        first, *rest = in_turns
        began = self._clock.monotonic()
        with self._hurry():
            left = self._carry_out([first])
            if left:
                left += rest
            elif rest:
                left = self._carry_out(rest)
        still = set(left)
        held_up.note_try(began, [one for one in in_turns if one not in still])
        return [one for one in waiting if one in still]

    @contextmanager
    def _hurry(self) -> Generator[None, None, None]:
        """Let nobody wait long for a lock in a `with` block."""
        session = self._open()
        before, session.waits_briefly = session.waits_briefly, True
        try:
            yield
        finally:
            session.waits_briefly = before

    def _call_one_by_one(
        self,
        group: Sequence[PendingResult[Any]],
        work: Callable[[StoreSession, Sequence[PendingResult[Any]]], None],
    ) -> list[PendingResult[Any]]:
        with self._hurry():  # A lock has held them up together, for long enough.
            return super()._call_one_by_one(group, work)

    def idle_timeout(self) -> float | None:
        """Seconds until the next heartbeat, release, or look at the connection is due."""
        seconds, session = super().idle_timeout(), self._session
        if self._held_up:
            seconds = min(self._held_up.seconds_to_try, self._lease if seconds is None else seconds)
        if seconds is None or session is None:
            return None
        if session.is_connected and not session.is_seen:
            return seconds
        return min(seconds, self._longest_pause)

    def on_idle(self) -> None:
        """Send a heartbeat, repeat the releases that failed, and replace a lost connection."""
        session = self._session
        if session is None or not self.needs_work:
            return
        self._do_what_is_due()
        if self._held_up and self._is_connected:
            self._try_held_up([])
        self._tell_news()
        self._put_off([])

    def _do_what_is_due(self) -> None:
        """Send a heartbeat, repeat releases, or connect, where no request does so."""
        session = self._session
        if session is not None and session.needs_work:
            super().on_idle()

    @property
    def needs_work(self) -> bool:
        """Whether something is due without a request."""
        session, held_up = self._session, self._held_up
        if session is None:
            return False
        return session.needs_work or (bool(held_up) and held_up.seconds_to_try <= 0)

    def _put_off(self, left: list[PendingResult[Any]]) -> Again | None:
        error, self._unreachable = self._unreachable, None
        if error is None:
            self._held_up.keep(())
            self._patience.note_success()
            return None
        self._keep_releases(left)
        waiting = [pending for pending in left if not isinstance(pending.request, Release)]
        seconds = self._patience.wait_on(waiting, error)
        self._release_claims([pending for pending in waiting if pending.error is not None])
        again = [pending for pending in waiting if pending.error is None]
        self._held_up.keep(set(again))
        if seconds is None:
            return None
        if self._may_have_runs(again):
            seconds = min(seconds, self._longest_pause)
        if self._is_connected and not self._held_up.split(again)[0]:
            return Again(min(seconds, self._held_up.seconds_to_try), again, at_once=True)
        return Again(seconds, again)

    def _may_have_runs(self, waiting: Sequence[PendingResult[Any]]) -> bool:
        """Whether this owner has runs, or may have: a claim without an answer may have taken its.

        Such a claim is released when its patience is over.
        """
        session = self._session
        if session is not None and (session.held_tokens or session.pending_releases):
            return True
        return any(isinstance(one.request, Claim) and one.is_taken for one in waiting)

    @property
    def _longest_pause(self) -> float:
        """The most seconds that an owner of runs lets pass between two looks or tries."""
        is_seen = self._session is not None and self._session.is_seen
        return _SECONDS_TO_RECONNECT if is_seen else self._lease / _TRIES_PER_LEASE

    def _keep_releases(self, left: Sequence[PendingResult[Any]]) -> None:
        """Let nobody wait for a release. It is repeated with the next heartbeat."""
        if self._session is not None:
            self._session.pending_releases += (
                pending.request
                for pending in left
                if isinstance(pending.request, Release) and pending not in self._held_up
            )

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
            self._hold_up(group, error)
        else:
            self.disconnect()
        self._unreachable = error
        return True

    def _hold_up(self, group: Sequence[PendingResult[Any]], error: StoreUnreachableError) -> None:
        """Let no other request wait for one that has failed alone, or for releases beside it."""
        session = self._session
        if session is not None:
            for release in session.pending_releases:
                self._held_up.add(PendingResult(release, None), error)
            session.pending_releases.clear()
        if len(group) == 1:
            self._held_up.add(group[0], error)

    def _take_session(self, end: Callable[[StoreSession], None]) -> None:
        self._held_up.clear()
        super()._take_session(end)

    @property
    def _is_connected(self) -> bool:
        return self._session is not None and self._session.is_connected

    def _write(self, session: StoreSession, group: Sequence[PendingResult[Any]]) -> None:
        releases = session.pending_releases[:]
        # A run that a lock has held up for all its patience is released while it still is.
        hurries = releases or any(isinstance(pending.request, Release) for pending in group)
        with self._hurry() if hurries else nullcontext():
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
            attended = set(filter(is_sent_if_attended, news))
            with suppress(StorageError):
                session.connection.notify(news - attended, if_attended=attended)

    def _is_of_one(self, error: BaseException) -> bool:
        """Whether an error may concern one request alone: not where no connection was made."""
        return self._is_connected and isinstance(error, _OF_ONE_REQUEST)

    def _writes_alone(self, session: StoreSession, batch: Batch) -> bool:
        if session.waits_briefly or not session.connection.commits_alone:
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
