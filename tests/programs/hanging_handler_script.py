"""A program whose handler of dicts hangs for ever: `hanging_handler_script.py WAY CANCELS`.

A run stores or reads a dict. CANCELS is "before" where the run is cancelled before the drain, or
"at the end" where the end of the loop does.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from aiocheckpoint import CheckpointFlow

PATIENCE = 60.0


class Quiet:
    """A handler that holds one dict.

    Attributes:
        calls: The calls that hang.
        begun: Set when one hangs.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()

    def read(self) -> dict[str, Any]:
        """Give nothing."""
        return {}

    def write(self, state: dict[str, Any]) -> None:
        """Do nothing."""

    async def hang(self) -> None:
        """Hang for ever."""
        self.calls += 1
        self.begun.set()
        await asyncio.Event().wait()


class AsyncWrite(Quiet):
    """Its async `write` hangs."""

    async def write(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        """Hang for ever."""
        await self.hang()


class AwaitableWrite(Quiet):
    """Its `write` gives an awaitable that hangs."""

    def write(self, state: dict[str, Any]) -> Any:  # noqa: ANN401
        """Give it."""
        return self.hang()


class AsyncRead(Quiet):
    """Its async `read` hangs."""

    async def read(self) -> dict[str, Any]:  # type: ignore[override]
        """Hang for ever."""
        await self.hang()
        return {}


class SyncWrite(Quiet):
    """Its `write` blocks its thread."""

    def write(self, state: dict[str, Any]) -> None:
        """Hang for ever."""
        self.calls += 1
        self.begun.set()
        threading.Event().wait()


WAYS = {kind.__name__: kind for kind in (AsyncWrite, AwaitableWrite, AsyncRead, SyncWrite)}


async def main(way: str, cancels: str) -> None:
    """Begin the run, and give it up."""
    handler = WAYS[way]()
    cp = CheckpointFlow("c.pkl", handler=handler)
    cp.add_step(name="a")(lambda state: state.update(a=1))
    task = asyncio.create_task(cp.arun({}))
    task.add_done_callback(lambda done: sys.stdout.write(f"{outcome(done)} {handler.calls}\n"))
    assert await asyncio.to_thread(handler.begun.wait, PATIENCE)
    if cancels == "before":
        task.cancel()
    left = await cp.adrain(timeout=0.05)
    sys.stdout.write(f"left: {left}\n")


def outcome(task: asyncio.Task[Any]) -> str:
    """Name the exception of a task, and what it shows."""
    try:
        task.result()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is named
        return f"{type(error).__module__}.{type(error).__name__}{error.__cause__ or ''}"
    return "it ended"


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.write("the program is over\n")
