"""A store as this process uses it, shared by all handlers of that store."""

from __future__ import annotations

import atexit
import errno
import os
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.leased._requests import Execute, Release
from aiocheckpoint.handlers.leased._writer_threads import is_writer, join_stopped

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable
    from queue import SimpleQueue

    from aiocheckpoint.handlers.leased._writer_threads import RequestWriter

__all__ = ["StoreClient", "clients", "open_client"]

_Result = TypeVar("_Result")
_Client = TypeVar("_Client", bound="StoreClient")


class StoreClient:
    """The writer of a store, and its connections for reading.

    Args:
        location: The store for messages.
        processor: Carries out the requests.
        writer: The thread that carries out the requests.
        close_readers: Closes the connections for reading, now or when they are read no more.
    """

    def __init__(
        self,
        location: str,
        processor: Any,  # noqa: ANN401 - a `LeasedProcessor`, or one of coroutines
        writer: RequestWriter[Any],
        close_readers: Callable[[], None],
    ) -> None:
        self._location = location
        self._processor: Any = processor
        self._close_readers = close_readers
        self._writer = writer
        # At the end of the process `_close_all` closes the store, and waits for its thread.
        weakref.finalize(self, _close, close_readers, self._writer, wait=False).atexit = False

    @property
    def owner_id(self) -> str:
        """Id of this process among the owners. Another one for each opening, and in a child."""
        owner_id: str = self._processor.owner_id
        return owner_id

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """The error with which an earlier opening of the store ended, if the store was gone."""
        reason: StorageError | None = self._processor.reason_lost(owner_id)
        return reason

    def ask(
        self,
        request: Any,  # noqa: ANN401 - of any kind in `_requests`
        loop: asyncio.AbstractEventLoop | None,
    ) -> PendingResult[Any]:
        """Queue a request for the writer thread, which commits all queued requests together.

        Raises:
            StorageError: A finalizer calls this in a writer thread, which cannot wait for itself.
                Or no thread can be started. The request will not be done.
        """
        if is_writer() and not isinstance(request, Release):
            raise StorageError(
                self._location,
                f"{self._location} was used by a finalizer that the garbage collector called in "
                "the thread that writes it. That thread cannot wait for itself. Let the finalizer "
                "hand the work to another thread.",
            )
        if not self._processor.owner_id:  # Not by `owner_id`: one call less for each request.
            self._before_opening()
        pending = self._result_kind(request)(request, loop)
        try:
            self._writer.put(pending)
        except RuntimeError as error:
            raise _no_thread(self._location, error) from error
        return pending

    def _result_kind(self, request: object) -> type[PendingResult[Any]]:
        """Choose the class of a result. A request to a store on this machine is never withdrawn."""
        del request
        return PendingResult

    def _before_opening(self) -> None:
        """Do nothing: a store needs no look before it is opened."""

    def call(self, function: Callable[[Any], _Result], notice: str = "") -> _Result:
        """Call a function with the writer's statements in a transaction. Wait for its result.

        Args:
            function: The function.
            notice: Told to other processes behind it. Empty for none.
        """
        return cast("_Result", self.ask(Execute(function, notice=notice), None).wait())

    def expire_dead(self) -> None:
        """Free the runs of every dead owner.

        Raises:
            StorageError: The store cannot be written.
        """
        self.call(self._processor.expire_dead)

    def note_draining(self) -> None:
        """Note that this process has begun to drain. Without effect where it owns nothing.

        Raises:
            StorageError: The store cannot be written.
        """
        if self.owner_id:
            self.call(self._processor.note_draining)

    def prepare_fork(self) -> SimpleQueue[None] | None:
        """Prepare for a fork of this process. A forked child leaves all connections unused.

        Returns:
            A queue. An item in it lets the writer thread go on. None if it needs none.
        """
        return None

    def close_at_exit(self) -> None:
        """Release all leases and close the store, at the end of the process."""
        self.close()

    def close(self, *, if_unused: bool = False) -> None:
        """Release all leases and close the store. The next use opens it again.

        Args:
            if_unused: Whether it stays open while a lease is held.
        """
        _close(self._close_readers, self._writer, wait=True, if_unused=if_unused)


def open_client(key: Hashable, make: Callable[[], _Client]) -> _Client:
    """Give the client of a store, one for all handlers with the same key.

    Args:
        key: The class, the place and the options of the client.
        make: Makes it.
    """
    client = _clients.get(key)
    if client is None:
        client = _clients[key] = make()
    return cast("_Client", client)


def clients() -> list[StoreClient]:
    """List the clients of this process."""
    return list(_clients.values())


_clients: weakref.WeakValueDictionary[Hashable, StoreClient] = weakref.WeakValueDictionary()


def _close(
    close_readers: Callable[[], None],
    writer: RequestWriter[Any],
    *,
    wait: bool,
    if_unused: bool = False,
) -> None:
    close_readers()
    writer.stop(wait=wait, if_unused=if_unused)


def _no_thread(location: str, error: RuntimeError) -> StorageError:
    return StorageError(
        location,
        f"writing {location} failed, and nothing was stored: its thread cannot be started "
        f"({error}). Raise the limit of processes and threads ('ulimit -u') or of memory, and run "
        "again.",
        errno=errno.EAGAIN,
    )


@atexit.register
def _close_all() -> None:
    for client in clients():
        client.close_at_exit()
    join_stopped()


_paused: list[SimpleQueue[None]] = []


def _prepare_fork() -> None:
    for client in clients():
        resume = client.prepare_fork()
        if resume is not None:
            _paused.append(resume)


def _resume() -> None:
    while _paused:
        _paused.pop().put(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare_fork, after_in_parent=_resume, after_in_child=_paused.clear)
