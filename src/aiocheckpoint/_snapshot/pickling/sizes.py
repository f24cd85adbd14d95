"""The sizes of the values in a state, for the warning about a large snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.diagnosis import shown_key
from aiocheckpoint._snapshot.pickling.serializer import UnserializableError, dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import ReadableBuffer as Buffer

__all__ = ["find_largest"]


class _Counter:
    """Counts the bytes of a pickle stream, and keeps none."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, chunk: Buffer, /) -> None:
        self.count += memoryview(chunk).nbytes

    def rewind(self) -> None:
        self.count = 0


def find_largest(places: Mapping[str, dict[str, Any]]) -> tuple[str, int]:
    """Find the largest value of some dicts by dumping each value alone.

    It takes as long as a dump of all, so only a warning asks for it.

    Args:
        places: The dicts by the name that the user knows, "state" or "data".

    Returns:
        The path of the value, such as `state["rows"]`, and its bytes. No path where all are empty.
    """
    found = ("", 0)
    for name, entries in places.items():
        for key, value in list(entries.items()):
            size = _size_of(value)
            if size > found[1]:
                found = f"{name}[{shown_key(key)}]", size
    return found


def _size_of(value: object) -> int:
    counter = _Counter()
    try:
        dump(value, counter)
    except UnserializableError:  # Alone it may be nested otherwise than in the state.
        return 0
    return counter.count
