"""The same work for each of many items: some at once on a loop, one by one in a caller's thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

__all__ = ["for_each"]

_Item = TypeVar("_Item")


async def for_each(
    source: AsyncGenerator[_Item, None],
    work: Callable[[_Item], Coroutine[object, object, None]],
    *,
    at_once: int,
    loop: asyncio.AbstractEventLoop | None,
) -> None:
    """Do `work` for each item of a source, which is closed at the end.

    Args:
        source: The items. The next one is taken only when there is room.
        work: Makes the coroutine for an item.
        at_once: How many are done at the same time on a loop.
        loop: The running loop. None for a caller whose thread may be blocked.

    Raises:
        BaseException: What the source or a work raised, or a cancellation, which reaches each work
            that has begun. In each case these have ended.
    """
    tasks: set[asyncio.Task[None]] = set()
    try:
        async for item in source:
            if loop is None:
                await work(item)
                continue
            tasks.add(loop.create_task(work(item)))
            if len(tasks) >= at_once:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                ended = {task for task in tasks if task.done()}
                tasks -= ended
                for task in ended:
                    task.result()
        if tasks:
            await asyncio.gather(*tasks)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            for task in tasks:
                task.cancel()
        if tasks:  # Not asyncio.wait(), which a second cancellation ends at once.
            await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        await source.aclose()
