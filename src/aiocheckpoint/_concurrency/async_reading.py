"""Blocking reads of the library for coroutines, through aiofiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import aiofiles.os

from aiocheckpoint._concurrency.threads import SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_off_loop"]

_Result = TypeVar("_Result")


async def read_off_loop(function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
    """Call a blocking function that only reads, in a thread for snapshots.

    A cancellation ends the wait at once, while the thread reads on: a late read changes nothing.
    Writes go through `threads.run_in_thread` instead, which waits for their end.
    """
    result: _Result = await aiofiles.os.wrap(function)(*args, executor=SNAPSHOTS)
    return result
