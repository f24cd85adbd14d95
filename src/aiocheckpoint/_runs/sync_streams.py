"""Streams for plain loops: the results of many runs and the events of one, without `await`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocheckpoint._closing import ClosedAtEnd
from aiocheckpoint._concurrency.caller_thread import CallersItems, CallerThread
from aiocheckpoint._concurrency.loop_thread import items_from_loop
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import StreamConsumedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiocheckpoint._runs.pairs import Runs
    from aiocheckpoint._runs.streams import Stream

__all__ = ["SyncStream", "taken_by_caller"]

_Item = TypeVar("_Item")


class SyncStream(ClosedAtEnd, Iterator[_Item]):
    """Gives the items of a `Stream` to plain loops, in scripts, threads and notebooks.

    The runs are on an event loop in a thread of its own, as under `arun`: sync steps are in
    threads, coroutines on that loop. It begins with the first item. The loop, its thread and the
    runs have ended when the last item was taken, or when the stream is closed.

    Closing it cancels the runs, which can be resumed, and waits for their end. Leaving a `with`
    block closes it, and so do `close`, Ctrl-C in the wait for an item, the end of the interpreter,
    and dropping it, as by `break` out of `for result in cp.map(...)`. An exception in the body of a
    loop keeps it until its traceback is dropped, so use `with` where that may happen. A garbage
    collection in another thread than that of the loop does not wait for the end.

    A stream is used in one thread at a time.
    """

    def __init__(self, make: Callable[[CallerThread], Stream[_Item]]) -> None:
        self._caller = CallerThread()
        stream = make(self._caller)
        self._of = stream.of
        source = cast("AsyncGenerator[_Item, None]", aiter(stream))
        self._items = items_from_loop(source, self._caller)

    def __repr__(self) -> str:
        """The kind of items, and how far the stream is. One alone in a cell has not begun."""
        begin = "not begun: iterate over it, or call list(...)"
        states = {inspect.GEN_CREATED: begin, inspect.GEN_CLOSED: "ended"}
        state = states.get(inspect.getgeneratorstate(self._items), "begun")
        return f"<{type(self).__name__} of {self._of}, {state}>"

    @front_door
    def __next__(self) -> _Item:
        """Wait for the next item.

        Raises:
            StreamConsumedError: Another thread waits for it.
            BaseException: The exception that ended the work.
        """
        self._enter()
        return next(self._items)

    @front_door
    def close(self) -> None:
        """Cancel the runs, and wait until they have ended. Further items are not given.

        Raises:
            StreamConsumedError: Another thread waits for the next item.
        """
        self._enter()
        self._items.close()

    def _enter(self) -> None:
        if inspect.getgeneratorstate(self._items) == inspect.GEN_RUNNING:
            raise StreamConsumedError(
                "another thread is waiting for its next item. Give each thread a stream of its own."
            )
        self._caller.enter()


def taken_by_caller(runs: Runs[Any], caller: CallerThread) -> Runs[Any]:
    """Let an iterator or generator of runs be iterated in the caller's thread.

    Dicts, lists and async iterables are iterated on the loop.
    """
    given = cast("object", runs)
    if isinstance(given, (Mapping, list, tuple, str, bytes)) or not isinstance(given, Iterable):
        return runs
    return CallersItems(cast("Iterable[tuple[str, Any]]", given), caller)
