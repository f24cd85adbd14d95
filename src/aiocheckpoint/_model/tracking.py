"""Iterators that say how many of their items are done: `current_step().track`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from aiocheckpoint.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["tracked"]

_Item = TypeVar("_Item")


def tracked(
    progress: Callable[[float, float | None, str | None], None],
    iterable: Iterable[_Item] | AsyncIterable[_Item],
    total: float | None,
    note: str | None,
) -> Iterator[_Item] | AsyncIterator[_Item]:
    """Give the items of an iterable, and report how many of them are done.

    Args:
        progress: Takes what is done, the total and the note.
        iterable: The items, sync or async.
        total: Their number, or None for what they say themselves.
        note: The note.

    Raises:
        InvalidTypeError: `iterable` is none.
    """
    count = _Count(progress, total, None if total is not None else _length(iterable), note)
    if isinstance(iterable, AsyncIterable) and not isinstance(iterable, Iterable):
        return _TrackedAsync(iterable, count)
    return _Tracked(_iterator(iterable), count)


class _Count:
    """Counts the items that are done.

    Args:
        progress: Takes the reports.
        total: The number of items that the user has given, or None.
        length: The one that the iterable says, or None. It is no total once there are more.
        note: The note.

    Attributes:
        given: The items that were given so far.
    """

    def __init__(
        self,
        progress: Callable[[float, float | None, str | None], None],
        total: float | None,
        length: int | None,
        note: str | None,
    ) -> None:
        self._progress, self._note = progress, note
        self._total, self._length = total, length
        self.given: int = 0

    def note_next(self) -> None:
        """Report that the next item is asked for, so that those that were given are done."""
        done, length = self.given, self._length
        total = self._total if length is None or done > length else length
        self._progress(done, total, self._note)


class _Tracked(Iterator[_Item], Generic[_Item]):
    """The items of an iterable, for a `for` loop. In an `async for` loop they come as well."""

    def __init__(self, items: Iterator[_Item], count: _Count) -> None:
        self._items, self._count = items, count

    def __next__(self) -> _Item:
        self._count.note_next()
        item = next(self._items)
        self._count.given += 1
        return item

    async def __aiter__(self) -> AsyncIterator[_Item]:
        for item in self:
            yield item


class _TrackedAsync(AsyncIterator[_Item], Generic[_Item]):
    """The items of an async iterable."""

    def __init__(self, iterable: AsyncIterable[_Item], count: _Count) -> None:
        self._items, self._count = aiter(iterable), count

    async def __anext__(self) -> _Item:
        self._count.note_next()
        item = await anext(self._items)
        self._count.given += 1
        return item

    async def aclose(self) -> None:
        """Close the source, if it can be closed, as `contextlib.aclosing` asks for."""
        close: Callable[[], Awaitable[object]] | None = getattr(self._items, "aclose", None)
        if close is not None:
            await close()

    def __getitem__(self, _: object) -> NoReturn:
        """Say what to write. Python asks for the item 0 in a `for` loop without `__iter__`.

        With `__iter__`, programs would take this for an `Iterable`.
        """
        raise InvalidTypeError(
            "track() got an async iterable, whose items come by `async for`, not by `for`."
        )


def _iterator(iterable: Any) -> Iterator[Any]:  # noqa: ANN401 - what a user gives
    """Iterate as `for` does, also over an object that has `__getitem__` alone.

    Raises:
        InvalidTypeError: It is no iterable.
    """
    if isinstance(iterable, Iterable):
        return iter(iterable)
    try:
        return iter(iterable)
    except TypeError:
        raise InvalidTypeError(
            f"track() takes an iterable or async iterable, not a {type(iterable).__name__}. "
            "progress() takes numbers."
        ) from None


def _length(iterable: object) -> int | None:
    """The number of items that an iterable says itself. None where it does not know."""
    try:
        if isinstance(iterable, Sized):
            return len(iterable)
        length = length_hint(iterable, -1)
    except Exception:  # noqa: BLE001 - some classes have a length that raises
        return None
    return None if length < 0 else length
