"""A step that has ended, kept for its saver: a saver that raised is called again alone."""

from __future__ import annotations

import time
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint._snapshot.pickling.serializer import (
    NotSmallError,
    UnserializableError,
    dump,
    dump_small,
    load,
)
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["EndedStep"]


class EndedStep:
    """A step that has ended in this attempt, while its saver has not.

    Args:
        stream: The state, pickled.
        data: The content of `data`. Its values are the same objects.
        modules: The modules of the steps.

    Attributes:
        at: When the step ended, by `time.perf_counter`.
    """

    __slots__ = ("_data", "_modules", "_stream", "at")

    def __init__(self, stream: bytes, data: dict[str, Any], modules: StepModules) -> None:
        self._stream, self._data, self._modules = stream, data, modules
        self.at = time.perf_counter()

    @classmethod
    async def keep(
        cls,
        backend: Backend,
        state: dict[str, Any],
        data: dict[str, Any],
        modules: StepModules,
    ) -> Self | None:
        """Keep a copy of the state. None if it holds a value that cannot be pickled."""
        try:
            stream = await _pickled(backend, state, modules)
        except UnserializableError:
            return None
        return cls(stream, dict(data), modules)

    async def restore(self, backend: Backend, state: dict[str, Any], data: dict[str, Any]) -> bool:
        """Restore both dicts. False if the state cannot be loaded, with both unchanged.

        A state that the saver left alone is left alone as well, so that it still shares objects
        with `data`.
        """
        try:
            if await _pickled(backend, state, self._modules) != self._stream:
                stored = await backend.run(_loaded, self._stream, self._modules)
                state.clear()
                state.update(stored)
        except Exception:  # noqa: BLE001 - classes of users raise anything when they are loaded
            return False
        data.clear()
        data.update(self._data)
        return True


async def _pickled(backend: Backend, state: dict[str, Any], modules: StepModules) -> bytes:
    try:
        return dump_small(state)
    except NotSmallError:
        return await backend.run(_dumped, state, modules)


def _dumped(state: dict[str, Any], modules: StepModules) -> bytes:
    memory = MemoryTarget()
    dump(state, memory, modules=modules)
    return memory.getvalue()


def _loaded(stream: bytes, modules: StepModules) -> dict[str, Any]:
    stored: dict[str, Any] = load(BytesIO(stream), modules=modules)
    return stored
