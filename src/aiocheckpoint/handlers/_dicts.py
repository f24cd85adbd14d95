"""The run store on a user's own handler of dicts."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field, replace
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

__all__ = ["DictRunStore", "UserHandler"]


@dataclass(eq=False)
class UserHandler:
    """A user's own handler: an object with `read()` and `write(state)` of dicts, for one run.

    Attributes:
        location: The handler, for messages.
        read: Its method `read`.
        write: Its method `write`.
        busy: Held while a run on this handler is in progress in this process.
    """

    location: str
    read: UserFunction
    write: UserFunction
    busy: threading.Lock = field(default_factory=threading.Lock)


class DictRunStore:
    """The run store of the one run that a user's own handler keeps.

    The handler is given copies, so that one that keeps its dicts in memory does not see later
    changes. A dict has no room for a header: only the position is stored.
    """

    def __init__(self, handler: UserHandler, run_id: str | None, backend: Backend) -> None:
        if run_id is not None:
            raise InvalidValueError(
                f"{handler.location} stores one state, so run_id={run_id!r} cannot be used. Use "
                "the handler 'local' for flows of many runs."
            )
        self.location = handler.location
        self.header: Header | None = None
        self.skipped: CheckpointError | None = None
        self.first_write: FirstWrite | None = None
        self._handler = handler
        self._backend = backend
        self._stored = MemoryTarget()
        self._held = False

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        """Do nothing: the lock is in this process alone."""

    async def acquire(self) -> None:
        if not self._handler.busy.acquire(blocking=False):
            raise RunInProgressError(self.location, pid=os.getpid(), host=socket.gethostname())
        self._held = True

    async def release(self) -> CancelledError | None:
        self.release_nowait()
        return None

    def release_nowait(self) -> None:
        if self._held:
            self._handler.busy.release()
            self._held = False

    async def read_header(self) -> Header | None:
        found = await self._backend.executor.call(self._handler.read)
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
        await self._backend.executor.call_to_end(self._handler.write, copy)
        self.header, self._stored = header, written
        return 0

    def update_header(self, change: Callable[[Header], Header]) -> None:
        """Change the header in memory alone: a dict has no room for it."""
        if self.header is not None:
            self.header = change(self.header)

    async def remove(self) -> None:
        await self._backend.executor.call_to_end(self._handler.write, {})


def _copied(
    header: Header, state: dict[str, Any], step: str | None
) -> tuple[MemoryTarget, dict[str, Any]]:
    """Encode a state with the header's position in it, as for a file, and decode a copy."""
    memory = MemoryTarget()
    Codec().write(header, state, step, memory)
    copy: dict[str, Any] = load(memory)
    return memory, copy
