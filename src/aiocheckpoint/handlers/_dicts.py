"""A user's own handler of dicts as the engine uses it."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._snapshot.keys import DATA_KEY, position_of
from aiocheckpoint._snapshot.pickling.serializer import load
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, RunInProgressError

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.handlers._run_store import FirstWrite

__all__ = ["DictBackend", "DictRunStore"]


class DictBackend:
    """A user's own handler: an object with `read()` and `write(state)` of dicts, for one run.

    Attributes:
        location: The place in words.
        read: Calls its `read`.
        write: Calls its `write`.
        busy: Held while a run of this place is under way in this process.
    """

    def __init__(self, location: str, read: UserFunction, write: UserFunction) -> None:
        self.location = location
        self.read = read
        self.write = write
        self.busy = threading.Lock()


class DictRunStore:
    """The place of the one run that a user's own handler keeps.

    It is given copies and gives copies, so that a handler that keeps its dicts in memory does not
    see later changes. There is no room for a header: only the position is kept.
    """

    def __init__(self, place: DictBackend, run_id: str | None, backend: Backend) -> None:
        if run_id is not None:
            raise InvalidValueError(
                f"{place.location} keeps one state and cannot tell run_id={run_id!r} from another; "
                "use the handler 'local' for flows of many runs."
            )
        self.location = place.location
        self.header: Header | None = None
        self.skipped: CheckpointError | None = None
        self.first_write: FirstWrite | None = None
        self._place = place
        self._backend = backend
        self._stored = MemoryTarget()
        self._held = False

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        """Do nothing."""

    async def acquire(self) -> None:
        if not self._place.busy.acquire(blocking=False):
            raise RunInProgressError(self.location, pid=os.getpid(), host=socket.gethostname())
        self._held = True

    async def release(self) -> CancelledError | None:
        self.release_nowait()
        return None

    def release_nowait(self) -> None:
        if self._held:
            self._place.busy.release()
            self._held = False

    async def read_header(self) -> Header | None:
        found = await self._backend.executor.call(self._place.read)
        if found is not None and not isinstance(found, dict):
            kind = type(found).__name__
            raise InvalidTypeError(f"read() of {self.location} must return a dict, not a {kind}.")
        if found:
            stored = cast("dict[str, Any]", found)
            header = Header.without_names("", None, position_of(stored))
            self.header = replace(header, holds_data=DATA_KEY in stored)
            self._stored, _ = await self._backend.run(_copied, self.header, stored, None)
        return self.header

    async def history(self) -> list[Header]:
        return []

    async def state(self, of: Header | None = None) -> dict[str, Any]:  # noqa: ARG002
        copy: dict[str, Any] = await self._backend.run(load, self._stored)
        return copy

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        written, copy = await self._backend.run(_copied, header, state, step)
        await self._backend.executor.call_to_end(self._place.write, copy)
        self.header, self._stored = header, written
        return 0

    def update_header(self, change: Callable[[Header], Header]) -> None:
        """Change what is remembered alone: a dict has no room for a header."""
        if self.header is not None:
            self.header = change(self.header)

    async def remove(self) -> None:
        await self._backend.executor.call_to_end(self._place.write, {})


def _copied(
    header: Header, state: dict[str, Any], step: str | None
) -> tuple[MemoryTarget, dict[str, Any]]:
    """Write a state, with the header's position in it, the way a file would, and give a copy."""
    memory = MemoryTarget()
    Codec().write(header, state, step, memory)
    copy: dict[str, Any] = load(memory)
    return memory, copy
