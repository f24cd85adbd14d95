"""Blocking reads of the library for coroutines, through aiofiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import aiofiles.os

from aiocheckpoint._concurrency.giving_up import StoreCall

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

    A cancellation ends the wait at once, while the thread reads on: a late read changes nothing. It
    waits no more for a store out of reach. Writes go through `threads.run_in_thread` instead, which
    waits for their end.
    """
    call = threads.made_call(function)
    try:
        result: _Result = await aiofiles.os.wrap(call)(*args, executor=threads)
    except BaseException:
        if isinstance(call, StoreCall):
            call.give_up()
        raise
    return result
