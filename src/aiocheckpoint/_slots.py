"""One run's place, as the engine uses it: a snapshot handler's, or a user's own class of dicts."""

from __future__ import annotations

import io
import os
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiocheckpoint._header import Header
from aiocheckpoint._serializer import load
from aiocheckpoint._snapshot import copy_snapshot, position_of, write_snapshot
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._calls import Calls
    from aiocheckpoint._serializer import Target
    from aiocheckpoint._steps import Part
    from aiocheckpoint.handlers import StateHandler

__all__ = ["DictPlace", "DictSlot", "HandlerSlot", "Slot"]


class Slot(Protocol):
    """Where one run's snapshot lies.

    Attributes:
        location: The place in words.
        header: That of the newest snapshot read or written; None where there is none.
    """

    location: str
    header: Header | None

    async def acquire(self) -> None:
        """Take the run's lock, or raise RunInProgressError."""

    def release(self) -> None:
        """Give the lock back, blocking."""

    async def find(self) -> Header | None:
        """Read the header, or give None where nothing is stored."""

    async def state(self) -> dict[str, Any]:
        """Load the stored state."""
        ...

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        """Store a snapshot taken after `step`, and give its size in bytes, 0 if unknown."""
        ...

    def amend(self, change: Callable[[Header], Header]) -> None:
        """Put a changed header to the state that is stored, blocking."""

    async def remove(self) -> None:
        """Delete what is stored."""


class HandlerSlot:
    """A run's place in a handler that moves snapshots."""

    def __init__(self, handler: StateHandler, run_id: str | None, calls: Calls) -> None:
        self.location = handler.locate(run_id)
        self.header: Header | None = None
        self._handler = handler
        self._run_id = run_id
        self._lock = handler.lock(run_id)
        self._calls = calls

    async def acquire(self) -> None:
        await self._calls.block(self._lock.acquire)

    def release(self) -> None:
        self._lock.release()

    async def find(self) -> Header | None:
        self.header = await self._calls.block(self._handler.header, self._run_id)
        return self.header

    async def state(self) -> dict[str, Any]:
        return await self._calls.block(self._load)

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        return await self._calls.block(self._replace, partial(write_snapshot, header, state, step))

    def amend(self, change: Callable[[Header], Header]) -> None:
        with self._handler.stored(self._run_id) as found:
            if found is None:
                return
            # What is stored is asked, not what is remembered: Ctrl-C may strike in between.
            self.header = change(found.header)
            if self.header is not found.header:
                self._replace(partial(copy_snapshot, self.header, found))

    async def remove(self) -> None:
        await self._calls.block(self._handler.remove, self._run_id)

    def _load(self) -> dict[str, Any]:
        with self._handler.stored(self._run_id) as found:
            return {} if found is None else found.state()

    def _replace(self, emit: Callable[[Target], Header]) -> int:
        # Set here, in the thread: a cancelled wait must not lose that it was written.
        self.header, length = self._handler.replace(self._run_id, emit)
        return length


class DictPlace:
    """A user's own handler: an object with `read()` and `write(state)` of dicts, for one run.

    Attributes:
        location: The place in words.
        read: Calls its `read`.
        write: Calls its `write`.
        busy: Held while a run of this place is under way in this process.
    """

    def __init__(self, location: str, read: Part, write: Part) -> None:
        self.location = location
        self.read = read
        self.write = write
        self.busy = threading.Lock()


class DictSlot:
    """The place of the one run that a user's own handler keeps.

    It is given copies and gives copies, so that a handler that keeps its dicts in memory does not
    see later changes. There is no room for a header: only the position is kept.
    """

    def __init__(self, place: DictPlace, run_id: str | None, calls: Calls) -> None:
        if run_id is not None:
            raise InvalidValueError(
                f"{place.location} keeps one state and cannot tell run_id={run_id!r} from another; "
                "use the handler 'local' for flows of many runs."
            )
        self.location = place.location
        self.header: Header | None = None
        self._place = place
        self._calls = calls
        self._state: dict[str, Any] = {}
        self._held = False

    async def acquire(self) -> None:
        if not self._place.busy.acquire(blocking=False):
            raise RunInProgressError(self.location, pid=os.getpid(), host=socket.gethostname())
        self._held = True

    def release(self) -> None:
        if self._held:
            self._place.busy.release()
            self._held = False

    async def find(self) -> Header | None:
        found = await self._calls.user(self._place.read)
        if found is not None and not isinstance(found, dict):
            kind = type(found).__name__
            raise InvalidTypeError(f"read() of {self.location} must return a dict, not a {kind}.")
        if found:
            stored = cast("dict[str, Any]", found)
            self.header = Header.of_unnamed("", None, position_of(stored))
            self._state = await self._calls.block(_copied, self.header, stored, None)
        return self.header

    async def state(self) -> dict[str, Any]:
        return self._state

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        copy = await self._calls.block(_copied, header, state, step)
        await self._calls.persist(self._place.write, copy)
        self.header = header
        return 0

    def amend(self, change: Callable[[Header], Header]) -> None:
        """Do nothing: a dict has no room for a header."""

    async def remove(self) -> None:
        await self._calls.persist(self._place.write, {})


class _Memory(io.BytesIO):
    def rewind(self) -> None:
        self.seek(0)
        self.truncate()


def _copied(header: Header, state: dict[str, Any], step: str | None) -> dict[str, Any]:
    """Copy a state, with the header's position in it, the way a file would."""
    memory = _Memory()
    write_snapshot(header, state, step, memory)
    memory.seek(0)
    copy: dict[str, Any] = load(memory)
    return copy
