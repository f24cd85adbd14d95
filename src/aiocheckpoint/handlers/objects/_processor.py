"""The processor of a bucket: each request is a coroutine of its own, those of one run in order."""

from __future__ import annotations

import asyncio
import copy
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.errors import CheckpointError, StorageError
from aiocheckpoint.handlers.leased._requests import Claim, Claimed, Execute, Release, Save
from aiocheckpoint.handlers.objects._bucket import Bucket
from aiocheckpoint.handlers.objects._claiming import Claiming
from aiocheckpoint.handlers.objects._due_releases import DueReleases
from aiocheckpoint.handlers.objects._names import Keys
from aiocheckpoint.handlers.objects._proving import check_format, prove
from aiocheckpoint.handlers.objects._reader import ObjectReader
from aiocheckpoint.handlers.objects._releasing import release
from aiocheckpoint.handlers.objects._saving import Saving
from aiocheckpoint.handlers.objects._session import ObjectSession, repeated
from aiocheckpoint.handlers.objects._statements import ObjectStatements

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._patience import Patience
    from aiocheckpoint.handlers.objects._store import ObjectStore

__all__ = ["ObjectProcessor", "Read"]

_LONGEST_ANSWER, _SHORTEST_ANSWER = 15.0, 1.0


class Read(NamedTuple):
    """Call a function with the reader of the bucket, and await what it returns.

    Attributes:
        function: The function.
    """

    function: Callable[[Any], Any]


class ObjectProcessor:
    """Carries out requests on one loop.

    Args:
        store: The store.
        lease: Length of a lease in seconds.
        patience: Decides how long requests are repeated.
        connections: How many requests to the bucket are in progress at once.

    Attributes:
        owner_id: Id of this process among the owners. Empty while nothing is written.
    """

    def __init__(
        self, store: ObjectStore, lease: float, patience: Patience, connections: int
    ) -> None:
        self.owner_id: str = ""
        self._store, self._lease, self._patience = store, lease, patience
        self._connections = connections
        self._keys = Keys(store.prefix)
        self._reset()

    def _reset(self) -> None:
        self.owner_id = ""
        self._bucket: Bucket | None = None
        self._reader: ObjectReader | None = None
        self._session: ObjectSession | None = None
        self._due: DueReleases | None = None
        self._opening: asyncio.Lock | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether this process holds the lease of a run."""
        return self._session is not None and bool(self._session.held)

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """Give None: a bucket that is gone is one that cannot be reached."""
        del owner_id
        return None

    def reset_after_fork(self) -> None:
        """Start over in a forked child, as another owner."""
        self._reset()

    async def carry_out(self, pending: PendingResult[Any]) -> None:
        """Carry out a request, and set its result or its error."""
        request = pending.request
        try:
            if isinstance(request, Save):
                await self._save(pending, request)
            elif isinstance(request, Claim):
                await self._claim(pending, request)
            elif isinstance(request, Release):
                await self._release(request)
            elif isinstance(request, Execute):
                pending.result = await self._execute(pending, request)
            else:
                pending.result = await self._read(pending, request)
        except BaseException as error:  # noqa: BLE001 - a caller waits for every request
            pending.error = self._translated(error)

    async def _save(self, pending: PendingResult[Any], request: Save) -> None:
        session, lease = await self._open(pending), request.lease
        async with session.turn(lease.key):
            saving = Saving(session, request)
            try:
                await repeated(self._patience, saving.attempt, pending)
            except CheckpointError as error:
                if not saving.is_stored:
                    raise
                saving.leave_rest(error)
            if not request.keeps_running:
                lease.set_saved(request.header)

    async def _claim(self, pending: PendingResult[Any], request: Claim) -> None:
        session, lease = await self._open(pending), request.lease
        async with session.turn(lease.key):
            claiming = Claiming(session, request)

            async def attempt() -> Claimed:
                await self._due_releases(session).send_of(lease.key)
                return await claiming.attempt()

            try:
                claimed = await repeated(self._patience, attempt, pending)
            except BaseException:
                if pending.is_taken and not claiming.is_refused:  # It may have taken the run.
                    self._due_releases(session).add(Release.of(lease, lease.asked_token))
                lease.asked_token = 0
                raise
            lease.set_claimed(claimed)
            pending.result = claimed
        if lease.released:  # The caller has gone meanwhile.
            await self._release(Release.of(lease, lease.token))

    async def _release(self, request: Release) -> None:
        """Release a lease. Where that fails, it is repeated without a caller."""
        session = self._session
        if session is None:
            return
        async with session.turn((request.flow, request.run_id)):
            try:
                await release(session, request)
            except CheckpointError:
                self._due_releases(session).add(request)

    def _due_releases(self, session: ObjectSession) -> DueReleases:
        if self._due is None:
            self._due = DueReleases(session)
        return self._due

    async def _execute(self, pending: PendingResult[Any], request: Execute) -> Any:  # noqa: ANN401
        statements = ObjectStatements(await self._open(pending))

        async def attempt() -> Any:  # noqa: ANN401
            return await _awaited(request.function(statements))

        return await repeated(self._patience, attempt, pending)

    async def _read(self, pending: PendingResult[Any], request: Read) -> Any:  # noqa: ANN401
        async def attempt() -> Any:  # noqa: ANN401
            if self._reader is None:
                bucket = self._connected()
                await check_format(bucket, self._keys, self._store.place)
                self._reader = ObjectReader(bucket, self._keys)
            return await _awaited(request.function(self._reader))

        return await repeated(self._patience, attempt, pending)

    async def expire_dead(self, statements: ObjectStatements) -> None:
        """Mark the owners that are gone, as the function of an `Execute`."""
        del statements
        if self._session is not None:
            await self._session.owners.look()

    async def note_draining(self, statements: ObjectStatements) -> None:
        """Note that this owner has begun to drain, as the function of an `Execute`."""
        del statements
        if self._session is not None:
            self._session.is_draining = True
            await self._session.owners.note_draining()

    async def close(self) -> None:
        """Release all leases, and forget the bucket."""
        session = self._session
        self.owner_id = ""
        if session is not None:
            await session.close(self._release_all(session))
        self._reset()

    async def _release_all(self, session: ObjectSession) -> None:
        releases = {token: Release(*held.key, token) for token, held in session.held.items()}
        releases |= self._due_releases(session).requests
        sent = (release(session, one) for one in releases.values())
        await asyncio.gather(*sent, return_exceptions=True)

    async def _open(self, pending: PendingResult[Any]) -> ObjectSession:
        """Give the session. The first one proves that the server honours conditions."""
        if self._session is not None:
            return self._session
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._session is None:
                self._session = await repeated(self._patience, self._opened, pending)
                self.owner_id = self._session.owner_id
        return self._session

    async def _opened(self) -> ObjectSession:
        bucket, place = self._connected(), self._store.place
        if not await check_format(bucket, self._keys, place):
            await prove(bucket, self._keys, place)
        session = ObjectSession(bucket, self._keys, self._lease, self._patience)
        await session.owners.beat()
        session.start_heartbeat()
        return session

    def _connected(self) -> Bucket:
        if self._bucket is None:
            seconds = self._patience.seconds / 3
            seconds = min(_LONGEST_ANSWER, max(_SHORTEST_ANSWER, seconds))
            store = self._store
            self._bucket = Bucket(store.connect(), store.place, seconds, self._connections)
        return self._bucket

    def _translated(self, error: BaseException) -> BaseException:
        if isinstance(error, CheckpointError):
            return copy.copy(error)
        place = self._store.place
        problem = f"{type(error).__name__}: {error}"
        translated = StorageError(
            place, f"writing {place} failed: {problem}. Run again to resume from the stored state."
        )
        translated.__cause__ = error
        return translated


async def _awaited(result: Awaitable[Any] | Any) -> Any:  # noqa: ANN401
    return await result if isawaitable(result) else result
