"""The lowest cost of a durable step: the same system calls, and nothing around them."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Floor", "replace"]


class Floor:
    """Replaces a file durably, many times, by bare calls.

    One replacement: create a temporary file in the same directory (it must not exist), write all
    in one piece, fsync, close, rename over the target, open the directory, fsync it, close it.

    Args:
        directory: Where the file is.
        steps: How many replacements a sample has.
        state: The state to pickle.
        clock: Measures, in seconds.
    """

    def __init__(
        self,
        directory: Path,
        steps: int,
        state: dict[str, Any],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._directory = str(directory)
        self._target = str(directory / "floor.pkl")
        self._temporary = str(directory / "floor.pkl.tmp")
        self._steps = steps
        self._state = state
        self._pool = ThreadPoolExecutor(1)
        self._pool.submit(int).result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    async def with_hop(self) -> float:
        """Pickle on the loop, replace in a thread: microseconds for one."""
        return await self._with_hop(self._replace)

    async def with_hop_without_fsync(self) -> float:
        """Do the same without the two fsyncs and the directory: microseconds for one."""
        return await self._with_hop(self._replace_unsynced)

    async def _with_hop(self, replace: Callable[[bytes], None]) -> float:
        loop = asyncio.get_running_loop()
        state = dict(self._state)
        begun = self._clock()
        for _ in range(self._steps):
            state["count"] += 1
            payload = pickle.dumps(state, 5)
            await loop.run_in_executor(self._pool, replace, payload)
        return self._microseconds(begun)

    def without_hop(self) -> float:
        """Pickle and replace in the caller's thread: microseconds for one."""
        return self._without_hop(self._replace)

    def without_fsync(self) -> float:
        """Do the same without the two fsyncs and the directory: microseconds for one."""
        return self._without_hop(self._replace_unsynced)

    def _microseconds(self, begun: float) -> float:
        return (self._clock() - begun) * 1e6 / self._steps

    def _without_hop(self, replace: Callable[[bytes], None]) -> float:
        state = dict(self._state)
        begun = self._clock()
        for _ in range(self._steps):
            state["count"] += 1
            replace(pickle.dumps(state, 5))
        return self._microseconds(begun)

    def system_calls(self) -> float:
        """Replace by the same bytes every time: microseconds for one."""
        payload = pickle.dumps(self._state, 5)
        begun = self._clock()
        for _ in range(self._steps):
            self._replace(payload)
        return self._microseconds(begun)

    def _replace(self, payload: bytes) -> None:
        replace(self._target, self._temporary, self._directory, payload)

    def _replace_unsynced(self, payload: bytes) -> None:
        file = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(file, payload)
        os.close(file)
        os.rename(self._temporary, self._target)  # noqa: PTH104 - the bare call


def replace(target: str, temporary: str, directory: str, payload: bytes) -> None:
    """Replace a file by bare system calls, so that it survives a power cut."""
    file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(file, payload)
    os.fsync(file)
    os.close(file)
    os.rename(temporary, target)  # noqa: PTH104 - the bare call
    opened = os.open(directory, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)
