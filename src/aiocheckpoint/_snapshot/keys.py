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
"""Where handlers' dicts keep the position, as gumly's do; no step sees it."""


DATA_KEY: Final = "checkpoint_data"
"""Where handlers' dicts keep `data` under `keep_data=True`; no step sees it either."""


LAST_POSITION = (1 << 31) - 1


def has_reserved_keys(state: dict[str, Any]) -> bool:
    """Whether a state has what belongs to the border of handlers."""
    return POSITION_KEY in state or DATA_KEY in state


def pop_reserved_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Take off a state what belongs to the border of handlers, and give the `data` in it."""
    state.pop(POSITION_KEY, None)
    data = state.pop(DATA_KEY, None)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def position_of(state: dict[str, Any]) -> int:
    """Read the position off a handler's dict; without one it is 0.

    Raises:
        InvalidTypeError: It is no index.
    """
    position = state.get(POSITION_KEY, 0)
    if not is_position(position):
        raise InvalidTypeError(f"{POSITION_KEY} must be the index of a step, an integer from 0.")
    return cast("int", position)


def is_position(value: object) -> bool:
    return type(value) is int and 0 <= value <= LAST_POSITION
