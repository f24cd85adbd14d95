"""Copies of a state as pickle streams, which are kept or sent."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.serializer import NotSmallError, dump, dump_small, load
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["dumped_state", "loaded_state", "pickled_state"]


async def pickled_state(backend: Backend, state: dict[str, Any], modules: StepModules) -> bytes:
    """Pickle a state, a large one in a thread.

    Raises:
        UnserializableError: It holds a value that cannot be pickled.
    """
    try:
        return dump_small(state)
    except NotSmallError:
        return await backend.run(dumped_state, state, modules)


def dumped_state(state: dict[str, Any], modules: StepModules) -> bytes:
    """Pickle a state of any kind.

    Raises:
        UnserializableError: It holds a value that cannot be pickled.
    """
    memory = MemoryTarget()
    dump(state, memory, modules=modules)
    return memory.getvalue()


def loaded_state(stream: bytes, modules: StepModules) -> dict[str, Any]:
    """Load a state from its stream.

    Raises:
        Exception: Loading raised it.
    """
    stored: dict[str, Any] = load(BytesIO(stream), modules=modules)
    return stored
