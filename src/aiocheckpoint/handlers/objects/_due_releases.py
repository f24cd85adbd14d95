"""Releases that could not be sent, each repeated until it is done or the session ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.pauses import doubled_pause
from aiocheckpoint.errors import CheckpointError, CorruptSnapshotError
from aiocheckpoint.handlers.objects._releasing import release

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key, Release
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["DueReleases"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries. The pause is doubled after each."""


class DueReleases:
    """The releases of one session that are due.

    The owner beats on while it holds a run, so a release that was forgotten would keep the run from
    everybody.

    Args:
        session: The session.

    Attributes:
        requests: The releases, by their tokens.
    """

    def __init__(self, session: ObjectSession) -> None:
        self.requests: dict[int, Release] = {}
        self._session = session
        self._is_repeating = False

    def add(self, request: Release) -> None:
        """Repeat a release from now on."""
        self.requests[request.token] = request
        if not self._is_repeating:
            self._is_repeating = True
            self._session.spawn(self._repeat())

    async def send_of(self, key: Key) -> None:
        """Send those of a run, before this process asks for it again. Called in its turn.

        Raises:
            StorageError: They cannot be sent.
        """
        for request in list(self.requests.values()):
            if (request.flow, request.run_id) == key:
                await self._send(request)

    async def _repeat(self) -> None:
        failures = 0
        try:
            while self.requests:
                await asyncio.sleep(doubled_pause(_FIRST_PAUSE, failures, _LONGEST_PAUSE))
                failures = 0 if await self._send_all() else failures + 1
        finally:
            self._is_repeating = False

    async def _send_all(self) -> bool:
        """Send one, and if the store takes it, all others. Whether it does."""
        if not self.requests:
            return True
        first, *others = self.requests.values()
        if await self._is_sent(first):
            await asyncio.gather(*map(self._is_sent, others))
            return True
        if self.requests.pop(first.token, None) is not None:
            self.requests[first.token] = first  # Another one is tried first the next time.
        return False

    async def _is_sent(self, request: Release) -> bool:
        try:
            async with self._session.turn((request.flow, request.run_id)):
                await self._send(request)
        except CheckpointError:
            return False
        return True

    async def _send(self, request: Release) -> None:
        if request.token in self.requests:
            with suppress(CorruptSnapshotError):  # Nobody can take such a run.
                await release(self._session, request)
            self.requests.pop(request.token, None)
