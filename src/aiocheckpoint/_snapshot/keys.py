"""The reserved keys of a stored dict: the position, and `data`."""

from __future__ import annotations

from typing import Any, Final, cast

from aiocheckpoint.errors import InvalidTypeError

__all__ = [
    "DATA_KEY",
    "LAST_POSITION",
    "POSITION_KEY",
    "has_reserved_keys",
    "is_position",
    "pop_reserved_keys",
    "position_of",
]


POSITION_KEY: Final = "checkpoint_index"
"""The key of the position in the dicts of handlers, as in gumly's. No step sees it."""


DATA_KEY: Final = "checkpoint_data"
"""The key of `data` in the dicts of handlers under `keep_data=True`. No step sees it."""


LAST_POSITION = (1 << 31) - 1
"""The largest position that a payload holds."""


def has_reserved_keys(state: dict[str, Any]) -> bool:
    """Whether a state has a reserved key."""
    return POSITION_KEY in state or DATA_KEY in state


def pop_reserved_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Remove the reserved keys from a state, and give the `data` that one of them had."""
    state.pop(POSITION_KEY, None)
    data = state.pop(DATA_KEY, None)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def position_of(state: dict[str, Any]) -> int:
    """Read the position from a handler's dict. It is 0 where the key is missing.

    Raises:
        InvalidTypeError: It is no index.
    """
    position = state.get(POSITION_KEY, 0)
    if not is_position(position):
        raise InvalidTypeError(f"{POSITION_KEY} must be the index of a step, an integer from 0.")
    return cast("int", position)


def is_position(value: object) -> bool:
    """Whether a value is the index of a step."""
    return type(value) is int and 0 <= value <= LAST_POSITION
