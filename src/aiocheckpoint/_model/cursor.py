"""The cursor of a step: a small dict of plain JSON that the next attempt at the step is given."""

from __future__ import annotations

import json
import math
from typing import Any, cast

from aiocheckpoint._texts import cut_middle, quoted
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["MOST_CURSOR_BYTES", "decode_cursor", "encode_cursor"]

MOST_CURSOR_BYTES = 1 << 14
"""The most bytes of a cursor as JSON in UTF-8."""
_MOST_DEPTH = 50
_MOST_BITS = 2048
"""Python may refuse to read numbers of more than 640 digits
(https://docs.python.org/3/library/stdtypes.html#int-max-str-digits)."""
_LONGEST_PATH = 120
_REMEDY = "Keep what says where to go on, such as a page number or the last key."


def encode_cursor(value: object) -> str:
    """Encode a cursor as JSON in one line.

    Args:
        value: A dict of plain values: nested dicts with string keys, lists, str, int, float, bool
            and None, each of exactly that type.

    Returns:
        The text, of at most 16 KiB in UTF-8. `decode_cursor` gives an equal dict.

    Raises:
        InvalidTypeError: It is no dict, a key is no string, or a value is of another type. The
            message names the place of the value, and never the value.
        InvalidValueError: A number is not finite or has more than 2,048 bits, a text is no valid
            UTF-8, dicts and lists are nested more than 50 deep, or the text is too large.
    """
    if type(value) is not dict:
        raise InvalidTypeError(
            f"cursor= is a dict of plain JSON, not a {type(value).__name__}, such as "
            'cursor={"page": 7}.'
        )
    _Check().look("cursor", value, _MOST_DEPTH)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MOST_CURSOR_BYTES:
        raise _too_large(f"{size:,} bytes")
    return text


def decode_cursor(text: str) -> dict[str, Any]:
    """Decode what `encode_cursor` has made, into a dict of its own at each call.

    Raises:
        ValueError: The text is no JSON of a dict.
    """
    decoded = json.loads(text)
    if type(decoded) is not dict:
        raise ValueError("no cursor")
    return cast("dict[str, Any]", decoded)


class _Check:
    """Checks the values of one cursor. It ends soon for one that is far too large."""

    def __init__(self) -> None:
        self._room = MOST_CURSOR_BYTES

    def look(self, path: str, value: object, depth: int) -> None:
        """Check a value and all within it. Each takes one byte of JSON or more."""
        self._room -= 1
        kind = type(value)
        if kind is dict or kind is list:
            self._look_within(path, value, depth)
        elif kind is str:
            self._look_at_text(path, cast("str", value))
        elif kind is float or kind is int:
            _look_at_number(path, cast("float", value))
        elif kind is not bool and value is not None:
            raise InvalidTypeError(
                f"{_shown(path)} is of type {kind.__name__}, and a cursor holds plain JSON: dict, "
                "list, str, int, float, bool and None. Convert it, for instance by int() or str()."
            )
        if self._room < 0:
            raise _too_large(f"more than {MOST_CURSOR_BYTES:,} bytes")

    def _look_within(self, path: str, value: object, depth: int) -> None:
        if depth == 0:
            raise InvalidValueError(
                f"a cursor is nested at most {_MOST_DEPTH} deep, and {_shown(path)} is deeper. "
                f"{_REMEDY}"
            )
        if isinstance(value, list):
            for index, one in enumerate(cast("list[object]", value)):
                self.look(f"{path}[{index}]", one, depth - 1)
            return
        for key, one in list(cast("dict[object, object]", value).items()):
            if type(key) is not str:
                raise InvalidTypeError(
                    f"a key of {_shown(path)} is of type {type(key).__name__}, and the keys of "
                    "JSON are strings. Convert it by str()."
                )
            self._look_at_text(f"a key of {path}", key)
            self.look(f"{path}[{quoted(key)}]", one, depth - 1)

    def _look_at_text(self, path: str, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            return
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(
                f"{_shown(path)} has a surrogate, which is no valid text. Encode it first, for "
                "instance by base64."
            ) from None


def _look_at_number(path: str, number: float) -> None:
    if isinstance(number, int):
        if number.bit_length() > _MOST_BITS:
            raise InvalidValueError(
                f"{_shown(path)} is a number of more than {_MOST_BITS:,} bits. Convert it by hex()."
            )
    elif not math.isfinite(number):
        raise InvalidValueError(
            f"{_shown(path)} is not finite, and JSON has no such number. Leave it out, or use None."
        )


def _too_large(size: str) -> InvalidValueError:
    return InvalidValueError(
        f"cursor= has {size} as JSON, and may have {MOST_CURSOR_BYTES:,}. {_REMEDY}"
    )


def _shown(path: str) -> str:
    return cut_middle(path, _LONGEST_PATH)
