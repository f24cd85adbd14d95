"""The thread that takes the items of a loop in another thread, and makes calls for it meanwhile."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar

from aiocheckpoint._concurrency.threads import wait_for_item
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._tracebacks import calls_user_code, user_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CallerThread", "CallersItems", "LoopEndedError"]

_Item = TypeVar("_Item")
_END: Any = object()


class CallerThread:
    """The thread that takes the items, and makes calls for the loop while it waits for one.

    Attributes:
        ident: Its ident. It may be another thread for each item.
    """

    def __init__(self) -> None:
        self._messages: SimpleQueue[WorkItem[Any] | _Delivery | None] = SimpleQueue()
        self._interruption: BaseException | None = None
        self._calling: WorkItem[Any] | None = None
        self.ident: int = get_ident()

    def enter(self) -> None:
        """Note that the current thread is the caller from now on."""
        self.ident = get_ident()

    def put(self, item: WorkItem[Any], /) -> None:
        """Let the thread make a call when it waits for the next item."""
        self._messages.put(item)

    def deliver(self, item: object) -> None:
        """Give it an item."""
        self._messages.put(_Delivery(item))

    def end(self) -> None:
        """Let it know that the loop has ended."""
        self._messages.put(None)

    def leave(self) -> None:
        """Let the loop wait no more for a call that Ctrl-C has interrupted."""
        if self._calling is not None:
            self._calling.deliver()

    def interrupt(self, error: BaseException) -> None:
        """Let it raise an exception behind the present call."""
        self._interruption = error

    def wait(self) -> Any:  # noqa: ANN401 - any item
        """Make calls until there is an item, and give it.

        Raises:
            LoopEndedError: The loop has ended.
        """
        while (message := self._messages.get()) is not None:
            if isinstance(message, _Delivery):
                return message.item
            self._calling = message
            message.call()
            if message.error is not None:
                # The frame of the call would hold those of the caller, and so this stream.
                BaseException.with_traceback(message.error, user_frames(message.error))
            message.deliver()
            self._calling = None
            error, self._interruption = self._interruption, None
            if error is not None:
                raise error
        raise LoopEndedError


class CallersItems(Generic[_Item]):
    """Gives the items of an iterable of the caller, which is iterated in the caller's thread.

    A connection that belongs to a thread works in a generator then, and so does a debugger.

    Args:
        items: The iterable.
        caller: The thread.
    """

    def __init__(self, items: Iterable[_Item], caller: CallerThread) -> None:
        self._items = items
        self._iterator: Iterator[_Item] | None = None
        self._caller = caller

    def __aiter__(self) -> CallersItems[_Item]:
        """Give itself."""
        return self

    async def __anext__(self) -> _Item:
        """Give the next item.

        A cancellation that comes while the caller's thread is at it is dropped, so that no item is
        lost. `checked_pairs` checks for a drain after each item.
        """
        item: WorkItem[_Item] = WorkItem(self._take, (), asyncio.get_running_loop())
        try:
            await wait_for_item(self._caller, item)
        except asyncio.CancelledError:
            if not item.ended or item.error is not None or item.result is _END:
                raise
        if item.error is not None:
            _raise_of_user(item.error)
        if item.result is _END:
            raise StopAsyncIteration
        return item.result

    @calls_user_code
    def _take(self) -> _Item:
        try:
            if self._iterator is None:
                self._iterator = iter(self._items)
            return next(self._iterator, _END)
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._caller.interrupt(error)
            return _END  # type: ignore[no-any-return]


@calls_user_code
def _raise_of_user(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # Its traceback holds this frame.


class LoopEndedError(Exception):
    """The loop has ended, and gives no more items."""


class _Delivery(NamedTuple):
    """An item for the caller."""

    item: object
