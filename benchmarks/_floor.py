"""The least that a durable step can cost: the same system calls, and nothing around them."""

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

__all__ = ["Floor"]


class Floor:
    """Replaces a file durably, many times, by bare calls.

    One replacement: create a temporary file in the same directory (it must not exist), write all
    in one piece, fsync, close, rename over the target, open the directory, fsync it, close it.
    """

    def __init__(self, directory: Path, steps: int, state: dict[str, Any]) -> None:
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
        loop = asyncio.get_running_loop()
        state = dict(self._state)
        begun = time.perf_counter()
        for _ in range(self._steps):
            state["count"] += 1
            payload = pickle.dumps(state, 5)
            await loop.run_in_executor(self._pool, self._replace, payload)
        return self._microseconds(begun)

    def without_hop(self) -> float:
        """Pickle and replace in the caller's thread: microseconds for one."""
        return self._without_hop(self._replace)

    def without_fsync(self) -> float:
        """Do the same without the two fsyncs and the directory: microseconds for one."""
        return self._without_hop(self._replace_unsynced)

    def _microseconds(self, begun: float) -> float:
        return (time.perf_counter() - begun) * 1e6 / self._steps

    def _without_hop(self, replace: Callable[[bytes], None]) -> float:
        state = dict(self._state)
        begun = time.perf_counter()
        for _ in range(self._steps):
            state["count"] += 1
            replace(pickle.dumps(state, 5))
        return self._microseconds(begun)

    def system_calls(self) -> float:
        """Replace by the same bytes every time: microseconds for one."""
        payload = pickle.dumps(self._state, 5)
        begun = time.perf_counter()
        for _ in range(self._steps):
            self._replace(payload)
        return self._microseconds(begun)

    def _replace(self, payload: bytes) -> None:
        file = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(file, payload)
        os.fsync(file)
        os.close(file)
        os.rename(self._temporary, self._target)  # noqa: PTH104 - the bare call
        directory = os.open(self._directory, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def _replace_unsynced(self, payload: bytes) -> None:
        file = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(file, payload)
        os.close(file)
        os.rename(self._temporary, self._target)  # noqa: PTH104 - the bare call
