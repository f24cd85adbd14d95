"""A step that has ended, kept for its saver: a saver that raised is called again alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint._engine.pickled_states import loaded_state, pickled_state
from aiocheckpoint._snapshot.pickling.serializer import UnserializableError

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
            stream = await pickled_state(backend, state, modules)
        except UnserializableError:
            return None
        return cls(stream, dict(data), modules)

    async def restore(self, backend: Backend, state: dict[str, Any], data: dict[str, Any]) -> bool:
        """Restore both dicts. False if the state cannot be loaded, with both unchanged.

        A state that the saver left alone is left alone as well, so that it still shares objects
        with `data`.
        """
        try:
            if await pickled_state(backend, state, self._modules) != self._stream:
                stored = await backend.run(loaded_state, self._stream, self._modules)
                state.clear()
                state.update(stored)
        except Exception:  # noqa: BLE001 - classes of users raise anything when they are loaded
            return False
        data.clear()
        data.update(self._data)
        return True
