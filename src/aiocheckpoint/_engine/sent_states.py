"""States that are sent from one process to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.pickled_states import dumped_state, loaded_state
from aiocheckpoint._snapshot.pickling.diagnosis import find_unserializable, path_of
from aiocheckpoint._snapshot.pickling.lost_keys import load_what_loads
from aiocheckpoint._snapshot.pickling.serializer import (
    NotSmallError,
    UnserializableError,
    dump_small,
)
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import UnserializableStateError

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["packed_other_state", "packed_plain_state", "packed_state", "unpacked_state"]


def packed_plain_state(state: dict[str, Any]) -> bytes | None:
    """Pickle a small state of plain values. Loading it takes little time, and runs no code.

    Returns:
        The stream, or None for any other state.
    """
    try:
        return dump_small(state)
    except NotSmallError:
        return None


def packed_state(state: dict[str, Any], modules: StepModules) -> bytes:
    """Pickle a state that is sent.

    Raises:
        UnserializableStateError: It holds a value that cannot be pickled.
    """
    return packed_plain_state(state) or packed_other_state(state, modules)


def packed_other_state(state: dict[str, Any], modules: StepModules) -> bytes:
    """Pickle a state that `packed_plain_state` does not take.

    Raises:
        UnserializableStateError: It holds a value that cannot be pickled.
    """
    try:
        return dumped_state(state, modules)
    except UnserializableError as error:
        offenders = find_unserializable(state, modules=modules) or (("state", str(error)),)
        raise UnserializableStateError(None, offenders) from error


def unpacked_state(stream: bytes, modules: StepModules) -> dict[str, Any]:
    """Load a state that was sent.

    Raises:
        UnserializableStateError: It holds a value that cannot be loaded here.
    """
    try:
        return loaded_state(stream, modules)
    except Exception as error:
        raise UnserializableStateError(None, _unloadable(stream, modules)) from error


def _unloadable(stream: bytes, modules: StepModules) -> tuple[tuple[str, str], ...]:
    """Find the keys of a state whose values cannot be loaded here, with the reasons."""
    where = "it was sent to another process, which cannot load it"
    try:
        _, lost = load_what_loads(MemoryTarget(stream), None, modules, code=True)
    except Exception as error:  # noqa: BLE001 - classes of users raise anything
        return (("state", f"{where} ({type(error).__name__})"),)
    return tuple((path_of(key), f"{where} ({reason})") for key, reason in lost.items())
