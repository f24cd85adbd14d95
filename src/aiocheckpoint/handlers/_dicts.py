"""The run store on a user's own handler of dicts."""

from __future__ import annotations

import inspect
import os
import socket
import threading
from asyncio import CancelledError
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.threads import AbandonedCallError
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.keys import DATA_KEY, position_of
from aiocheckpoint._snapshot.pickling.serializer import load
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, RunInProgressError
from aiocheckpoint.handlers._run_store import FoundRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint._model.start_record import ClaimedStart
    from aiocheckpoint._snapshot.codec import Codec
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers._run_store import FirstWrite
    from aiocheckpoint.handlers._step_transactions import StepTransactions

__all__ = ["DictRunStore", "UserHandler"]


@dataclass(eq=False)
class UserHandler:
    """A user's own handler: an object with `read()` and `write(state)` of dicts, for one run.

    Attributes:
        location: The handler, for messages.
        read: Its method `read`.
        write: Its method `write`.
        codec: Copies the dicts.
        busy: Held while a run on this handler is in progress in this process.
    """

    location: str
    read: UserFunction
    write: UserFunction
    codec: Codec
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
        self.run_id: str | None = None
        self.header: Header | None = None
        self.skipped: CheckpointError | None = None
        self.first_write: FirstWrite | None = None
        self.keeps_cancellation = False
        self.cancellation: CancelledError | None = None
        self.start: ClaimedStart | None = None
        self.progress: ProgressRecord | None = None
        self.writes_async = handler.write.on_loop
        self.port: SnapshotPort | None = None
        self._handler = handler
        self._backend = backend
        self._stored = MemoryTarget()
        self._held = False
        write = update_wrapper(partial(self._write), handler.write.function)
        self._user_write = replace(handler.write, function=write)

    @property
    def transactions(self) -> StepTransactions | None:
        return None

    def prepare_first_snapshot(
        self,
        make: Callable[[], tuple[Header, dict[str, Any]] | None],
        *,
        is_likely_stored: bool,
    ) -> None:
        """Do nothing: the lock is in this process alone."""

    async def acquire(self) -> None:
        if not self._handler.busy.acquire(blocking=False):
            raise RunInProgressError(self.location, pid=os.getpid(), host=socket.gethostname())
        self._held = True

    def take_back_start(self) -> None:
        """Do nothing: no starts are counted."""

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
            self._stored, _ = await self._backend.run(self._copied, self.header, stored)
        return self.header

    async def history(self) -> list[Header]:
        return []

    async def state(self, of: Header | None = None) -> dict[str, Any]:  # noqa: ARG002
        copy: dict[str, Any] = await self._backend.run(self._loaded, self._stored)
        return copy

    async def find(self, wanted: Callable[[Header], bool]) -> FoundRun | None:
        header = await self.read_header()
        if header is None:
            return None
        return FoundRun(header, await self.state() if wanted(header) else None)

    async def compare(self, header: Header, state: dict[str, Any]) -> Sameness:  # noqa: ARG002
        return "unknown"

    async def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,  # noqa: ARG002 - there is none
    ) -> int:
        written, copy = await self._backend.run(
            partial(self._copied, header, state, step, with_position=True)
        )
        await self._backend.executor.call(self._user_write, copy, header, written)
        return 0

    @calls_user_code
    def _write(
        self, copy: dict[str, Any], header: Header | None, written: MemoryTarget
    ) -> Coroutine[Any, Any, None] | None:
        """Call the handler's `write`, in a thread or on the loop, and note what is stored then."""
        result = self._handler.write.function(copy)
        if inspect.isawaitable(result):
            return self._finish_write(result, header, written)
        self.header, self._stored = header, written
        return None

    async def _finish_write(
        self, result: Awaitable[object], header: Header | None, written: MemoryTarget
    ) -> None:
        @calls_user_code
        async def finish() -> None:
            try:
                await result
            except CancelledError as cancellation:
                if self._backend.gave_up:  # What it has begun may still be stored.
                    raise AbandonedCallError(*cancellation.args) from None
                raise
            self.header, self._stored = header, written

        await self._backend.finish(finish())

    def update_header(
        self,
        change: Callable[[Header], Header],
        progress: ProgressRecord | None = None,  # noqa: ARG002 - a dict has no room for it
    ) -> bool:
        """Change the header in memory alone: a dict has no room for it."""
        if self.header is not None:
            self.header = change(self.header)
        return False

    def begin_progress(self, record: ProgressRecord) -> None:
        """Do nothing: a dict has no room for it."""

    def drop_progress(self) -> None:
        """Do nothing, as above."""

    async def remove(self) -> None:
        await self._backend.executor.call(self._user_write, {}, None, MemoryTarget())

    def _copied(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None = None,
        *,
        with_position: bool = False,
    ) -> tuple[MemoryTarget, dict[str, Any]]:
        """Encode a state as for a file, perhaps with the header's position, and decode a copy."""
        memory = MemoryTarget()
        self._handler.codec.write(header, state, step, memory, with_position=with_position)
        return memory, self._loaded(memory)

    def _loaded(self, memory: MemoryTarget) -> dict[str, Any]:
        loaded: dict[str, Any] = load(memory, modules=self._handler.codec.modules)
        return loaded
