"""Blocking reads of the library for coroutines, through aiofiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import aiofiles.os

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads

__all__ = ["read_off_loop"]

_Result = TypeVar("_Result")


async def read_off_loop(
    threads: DaemonThreads,
    function: Callable[..., _Result],
    *args: Any,  # noqa: ANN401
) -> _Result:
    """Call a blocking function that only reads, in one of `threads`.

    A cancellation ends the wait at once, while the thread reads on: a late read changes nothing.
    Writes go through `threads.run_in_thread` instead, which waits for their end.
    """
    result: _Result = await aiofiles.os.wrap(function)(*args, executor=threads)
    return result
