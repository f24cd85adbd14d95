"""The work of a writer thread: all queued requests in one transaction, with one commit.

It is plain blocking code. A simulation calls it without a thread, with a clock of its own.
"""

from __future__ import annotations

import copy
import logging
import time
from abc import ABC, abstractmethod
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import CheckpointError, StorageError
from aiocheckpoint.handlers.leased._batches import Batch, into_batches
from aiocheckpoint.handlers.leased._claims import claim, claim_from_dead_owners
from aiocheckpoint.handlers.leased._requests import Claim, Execute, Release
from aiocheckpoint.handlers.leased._saves import save
from aiocheckpoint.handlers.leased._session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.leased._writer import Again
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["LeasedProcessor"]

AnySession = TypeVar("AnySession", bound=Session)


class LeasedProcessor(ABC, Generic[AnySession]):
    """Carries out the requests of many runs in one transaction.

    A subclass says which errors concern one request alone, and what else a store needs.

    Args:
        location: The store for messages.
        lease: Length of a lease in seconds.
        open_session: Begins a session, for the first request and for the first one behind a close.
        clock: Tells the time.

    Attributes:
        owner_id: Id of this process among the owners. Empty while the store is not in use.
    """

    def __init__(
        self,
        location: str,
        lease: float,
        open_session: Callable[[], AnySession],
        clock: Clock = time,
    ) -> None:
        self.owner_id: str = ""
        self._location = location
        self._lease = lease
        self._open_session = open_session
        self._clock = clock
        self._session: AnySession | None = None

    def apply(self, group: Sequence[PendingResult[Any]]) -> Again | None:
        """Carry out requests, and set the result or the error of each."""
        self._carry_out(group)
        self._release_early()
        return None

    def idle_timeout(self) -> float | None:
        """Seconds until the next heartbeat or pending release is due, None for never."""
        session = self._session
        if session is None or not (session.held_tokens or session.pending_releases):
            return None
        return max(self._lease / 20, session.seconds_to_heartbeat)

    def on_idle(self) -> None:
        """Send a heartbeat, and repeat the releases that failed."""
        self._call_or_fail([], self._write)

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the error of requests that the thread could not carry out."""
        self._release_claims(group)
        self._fail(group, self._translated(error, "working on"))

    @property
    def is_in_use(self) -> bool:
        """Whether this process holds the lease of a run."""
        return self._session is not None and bool(self._session.held_tokens)

    def close(self) -> None:
        """Release all leases and close the store."""
        self._take_session(methodcaller("close"))

    def disconnect(self) -> None:
        """Close the connection until the next request, and keep the leases."""
        if self._session is not None:
            self._session.disconnect()

    def reset_after_fork(self) -> None:
        """Start over in a forked child, as another owner."""
        self._take_session(methodcaller("abandon"))

    def expire_dead(self, statements: WritingStatements) -> float | None:
        """Free the runs of owners that are gone, in a transaction of an `Execute`.

        Returns:
            As `Session.expire_dead`.
        """
        del statements
        return None if self._session is None else self._session.expire_dead()

    def note_draining(self, statements: WritingStatements) -> None:
        """Note that this owner has begun to drain, in a transaction of an `Execute`."""
        del statements
        if self._session is not None:
            self._session.note_draining()

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """The error that ended the session of an owner, if the store itself was gone."""
        del owner_id
        return None

    def _carry_out(self, group: Sequence[PendingResult[Any]]) -> list[PendingResult[Any]]:
        """Carry out requests together. Give those that `_call_or_fail` has put off."""
        left = self._call_or_fail(group, self._write)
        refused = [
            pending
            for pending in group
            if isinstance(pending.request, Claim)
            and pending.result is None
            and pending.error is None
        ]
        if left:
            again = {*left, *refused}
            return [pending for pending in group if pending in again]
        return self._call_or_fail(refused, self._claim_from_dead_owners) if refused else []

    def _release_early(self) -> None:
        """Release the leases whose callers had gone before their claims were committed."""
        if self._keep_early_releases():
            self._call_or_fail([], self._write)

    def _keep_early_releases(self) -> bool:
        """Let the next transaction release these leases. Whether there are any."""
        session = self._session
        if session is None or not session.released_early:
            return False
        session.pending_releases += session.released_early
        session.released_early.clear()
        return True

    def _call_or_fail(
        self,
        group: Sequence[PendingResult[Any]],
        work: Callable[[AnySession, Sequence[PendingResult[Any]]], None],
    ) -> list[PendingResult[Any]]:
        """Call `work` for requests, and set the error of each where it fails.

        One request that the store cannot take would fail all others. They are done one by one then.

        Returns:
            The requests that are put off, as the store is out of reach. They have no error.
        """
        try:
            session = self._open()
            session.begin(len(group) + sum(map(_rows, group)))
            taken = self._taken(group)
            if taken or not group:
                work(session, taken)
        # A caller waits for every request, so that any error must end all of them.
        except BaseException as error:  # noqa: BLE001
            if self._puts_off(group, error):
                apart = len(group) > 1 and self._is_connected
                return self._call_one_by_one(group, work) if apart else list(group)
            self._release_claims(group)
            self._note_failure(error)
            if len(group) > 1 and self._is_of_one(error):
                return self._call_one_by_one(group, work)
            self._fail(group, self._translated(error, "writing"))
        return []

    def _call_one_by_one(
        self,
        group: Sequence[PendingResult[Any]],
        work: Callable[[AnySession, Sequence[PendingResult[Any]]], None],
    ) -> list[PendingResult[Any]]:
        left: list[PendingResult[Any]] = []
        for pending in group:
            pending.result = pending.error = None
            goes_on = not left or self._is_connected
            left += self._call_or_fail([pending], work) if goes_on else [pending]
        return left

    @property
    def _is_connected(self) -> bool:
        """Whether requests that were put off leave a connection by which others can go on."""
        return False

    def _taken(self, group: Sequence[PendingResult[Any]]) -> Sequence[PendingResult[Any]]:
        """Take requests right before they are sent. Leave out those that were withdrawn."""
        return group

    def _puts_off(self, group: Sequence[PendingResult[Any]], error: BaseException) -> bool:
        """Whether requests that have failed are to be repeated. Their leases stay as they were."""
        del group, error
        return False

    def _note_failure(self, error: BaseException) -> None:
        """Note an error that ends requests. A subclass may end its session."""

    @abstractmethod
    def _is_of_one(self, error: BaseException) -> bool:
        """Whether an error may concern one request alone."""

    def _release_claims(self, group: Sequence[PendingResult[Any]]) -> None:
        """Release claims that failed. They may have been committed before."""
        for pending in group:
            if isinstance(pending.request, Claim) and self._session is not None:
                lease, token = pending.request.lease, pending.request.lease.asked_token
                if token:
                    self._session.pending_releases.append(Release.of(lease, token))
                lease.asked_token = 0

    def _translated(self, error: BaseException, doing: str) -> CheckpointError:
        if isinstance(error, CheckpointError):
            return error
        translated = StorageError(
            self._location,
            f"{doing} {self._location} failed: {type(error).__name__}: {error}. Run "
            "again to resume from the stored state.",
        )
        translated.__cause__ = error
        return translated

    def _fail(self, group: Sequence[PendingResult[Any]], error: CheckpointError) -> None:
        if not group:
            words = "The leases of runs could not be renewed, and may be lost: %s"
            log(logging.WARNING, NOWHERE, words, error)
        for pending in group:
            if isinstance(pending.request, Release):
                if self._session is not None:
                    self._session.pending_releases.append(pending.request)
            else:
                # A copy for each caller, because tracebacks and notes are added to it.
                pending.error = copy.copy(error)
                pending.error.__cause__ = error.__cause__

    def _open(self) -> AnySession:
        if self._session is None:
            self._session = self._open_session()
            self.owner_id = self._session.owner_id
        return self._session

    def _take_session(self, end: Callable[[AnySession], None]) -> None:
        self.owner_id = ""
        session, self._session = self._session, None
        if session is not None:
            end(session)

    def _write(self, session: AnySession, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests in one transaction, or in one statement, which is its own."""
        batches = list(into_batches(group))
        releases = session.pending_releases[:]
        alone = len(batches) == 1 and not releases and session.seconds_to_heartbeat > 0
        if not (alone and self._writes_alone(session, batches[0])):
            session.in_transaction(partial(self._do_all, session, releases, batches))
        session.check_commit()
        if releases:
            session.note_released(releases)
        for batch in batches:
            _update_leases(session, batch)

    @abstractmethod
    def _writes_alone(self, session: AnySession, batch: Batch) -> bool:
        """Do a batch by one statement if it takes no more, and say so. Else do nothing."""

    def _claim_from_dead_owners(
        self, session: AnySession, group: Sequence[PendingResult[Any]]
    ) -> None:
        """Claim the runs of dead owners, and name the living owner of each other run."""
        now = self._clock.time()
        session.in_transaction(partial(claim_from_dead_owners, session, group, now))
        session.check_commit()
        _update_leases(session, Batch(claims=list(group)))

    def _do_all(
        self, session: AnySession, releases: Sequence[Release], batches: Sequence[Batch]
    ) -> None:
        if releases:
            session.statements.release(releases)
        for batch in batches:
            self._do(session, batch)

    def _do(self, session: AnySession, batch: Batch) -> None:
        if batch.other is not None:
            self._do_other(session, batch.other)
        if batch.claims:
            claim(session, batch.claims, self._clock.time())
        if batch.steps or batch.status_changes:
            save(session.statements, batch, session.owner_id)

    def _do_other(self, session: AnySession, pending: PendingResult[Any]) -> None:
        if isinstance(pending.request, Release):
            session.statements.release([pending.request])
        else:
            pending.result = pending.request.function(session.statements)


def _rows(pending: PendingResult[Any]) -> int:
    return pending.request.rows if isinstance(pending.request, Execute) else 0


def _update_leases(session: Session, batch: Batch) -> None:
    """Update the leases after a commit."""
    for pending in batch.claims:
        if pending.result is not None:
            lease = pending.request.lease
            lease.set_claimed(pending.result)
            session.held_tokens.add(lease.token)
            if lease.released:
                session.released_early.append(Release.of(lease, lease.token))
    for pending in batch.status_changes:  # A step changes nothing of its lease.
        if pending.error is None:
            if pending.request.ends_run:
                session.held_tokens.discard(pending.request.lease.token)
            pending.request.lease.set_saved(pending.request.header)
    if batch.other is not None and isinstance(batch.other.request, Release):
        session.held_tokens.discard(batch.other.request.token)
