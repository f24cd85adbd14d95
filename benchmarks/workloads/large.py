"""Large values: flows that write each only once, and the bare write of as many bytes."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from workloads.crowd import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["HAS_NUMPY", "MEGABYTE", "Bare", "OneWrite", "array"]

MEGABYTE = 1_000_000
HAS_NUMPY = find_spec("numpy") is not None


def array(size: int) -> Any:  # noqa: ANN401 - numpy may be missing
    """Give an array of so many bytes, a multiple of 8, or bytes without numpy."""
    if not HAS_NUMPY:
        return os.urandom(size)
    numpy: Any = import_module("numpy")
    return numpy.arange(size // 8, dtype="f8")


class OneWrite:
    """A flow whose state is large between two of its steps, and so is written only once.

    The first step puts the value into the state, and the second one takes it out again. Only the
    snapshot between them is large.

    Args:
        path: The checkpoint.
        value: The large value.

    Attributes:
        stalls: For each sample of `arun` the longest stall of the loop, in milliseconds.
    """

    def __init__(self, path: Path, value: object) -> None:
        self._value = value
        self._notes: list[float] = []
        self._begun = self._done = 0.0
        self._sync = CheckpointFlow(path)
        self._async = CheckpointFlow(path)
        for flow, steps in (
            (self._sync, (self._fill, self._drop)),
            (self._async, (self._afill, self._adrop)),
        ):
            for name, step in zip(("fill", "drop"), steps, strict=True):
                flow.add_step(name=name)(step)
        self.stalls: list[float] = []

    def by_run(self) -> float:
        """Give the milliseconds from the end of the first step to the begin of the second."""
        self._sync.run({})
        return self._milliseconds

    async def by_arun(self) -> float:
        """Do the same with coroutine steps, and keep the longest stall."""
        async with Ticker() as ticker:
            await self._async.arun({})
        self.stalls.append(ticker.worst)
        return self._milliseconds

    @property
    def _milliseconds(self) -> float:
        return (self._done - self._begun) * 1e3

    def _fill(self, state: dict[str, Any]) -> None:
        state["value"] = self._value
        self._begun = time.perf_counter()

    def _drop(self, state: dict[str, Any]) -> None:
        self._done = time.perf_counter()
        del state["value"]

    async def _afill(self, state: dict[str, Any]) -> None:
        self._fill(state)

    async def _adrop(self, state: dict[str, Any]) -> None:
        self._drop(state)


class Bare:
    """Writes a value's bytes to a file in the same directory, and waits until the disk has them.

    Args:
        path: The file. It is removed after each sample.
        value: An array or bytes, or an object to pickle.
        pickled: Whether the value is first pickled by one call of the C pickler.

    Attributes:
        stalls: For each sample of `in_thread` the longest stall of the loop, in milliseconds.
    """

    def __init__(self, path: Path, value: object, *, pickled: bool = False) -> None:
        self._path = str(path)
        self._bytes: Callable[[], Any] = lambda: pickle.dumps(value, 5) if pickled else value
        self.stalls: list[float] = []

    def write(self) -> float:
        """Give the milliseconds for the bytes, fsync included."""
        begun = time.perf_counter()
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        left = memoryview(self._bytes()).cast("B")
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
        os.close(file)
        taken = time.perf_counter() - begun
        os.unlink(self._path)  # noqa: PTH108 - the bare call
        return taken * 1e3

    async def in_thread(self) -> float:
        """Do the same in a thread, and keep the longest stall."""
        async with Ticker() as ticker:
            taken = await asyncio.to_thread(self.write)
        self.stalls.append(ticker.worst)
        return taken
