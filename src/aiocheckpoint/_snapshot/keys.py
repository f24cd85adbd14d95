"""The reserved keys of a stored dict: the position, and `data`."""

from __future__ import annotations

from typing import Any, Final, cast

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "DATA_KEY",
    "LAST_POSITION",
    "POSITION_KEY",
    "check_reserved_keys",
    "drop_position",
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


def check_reserved_keys(state: dict[str, Any], owner: str, *, takes_data: bool = False) -> None:
    """Check that a state has nothing under a reserved key that would be lost.

    An int under the key of the position is allowed, as `read` gives it, and is taken off later.

    Args:
        state: The state.
        owner: The name of the state in the message, such as "the state".
        takes_data: Whether a dict under the key of `data` is allowed as well.

    Raises:
        InvalidValueError: A value would be lost.
    """
    if POSITION_KEY in state and type(state[POSITION_KEY]) is not int:
        found = type(state[POSITION_KEY]).__name__
        raise InvalidValueError(
            f"{owner} has a {found} under the key {POSITION_KEY!r}, which is reserved for the "
            "position, and so would be lost. Give your own value another key."
        )
    if DATA_KEY in state and not (takes_data and isinstance(state[DATA_KEY], dict)):
        raise InvalidValueError(
            f"{owner} has the key {DATA_KEY!r}, which is reserved for `data` in handler.read() and "
            "handler.write() under keep_data=True. Take it off, or give your own value another key."
        )


def drop_position(state: dict[str, Any]) -> None:
    """Take the position off a state, after `check_reserved_keys`."""
    state.pop(POSITION_KEY, None)


def pop_reserved_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Remove the reserved keys from a state, and give the `data` that one of them had."""
    state.pop(POSITION_KEY, None)
    data = state.pop(DATA_KEY, None)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def position_of(state: dict[str, Any]) -> int:
    """Read the position from a handler's dict. It is 0 where the key is missing.

    Raises:
        InvalidTypeError: It is no index, or there is no dict under the key of `data`.
    """
    if DATA_KEY in state and not isinstance(state[DATA_KEY], dict):
        found = type(state[DATA_KEY]).__name__
        raise InvalidTypeError(f"{DATA_KEY} must be a dict, not a {found}.")
    position = state.get(POSITION_KEY, 0)
    if not is_position(position):
        raise InvalidTypeError(f"{POSITION_KEY} must be the index of a step, an integer from 0.")
    return cast("int", position)


def is_position(value: object) -> bool:
    """Whether a value is the index of a step."""
    return type(value) is int and 0 <= value <= LAST_POSITION
