"""The JSON of a dict that gets one entry more at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GrowingEntries"]

_Value = TypeVar("_Value")


class GrowingEntries(Generic[_Value]):
    """Formats the entries of a dict, of which only new ones are formatted again.

    Formatting 20 entries at each step would take as long as all other work for a header.

    Args:
        encode: Formats one entry.
    """

    __slots__ = ("_encode", "_known")

    def __init__(self, encode: Callable[[str, _Value], str]) -> None:
        self._encode = encode
        self._known: tuple[list[str], list[_Value], str] = [], [], ""

    def text(self, entries: dict[str, _Value]) -> str:
        """The entries with commas between them."""
        if not entries:
            return ""
        names, values = list(entries), list(entries.values())
        known_names, known_values, text = self._known
        older_names, older_values = names[:-1], values[:-1]
        if text and older_names == known_names and older_values == known_values:
            text += f",{self._encode(names[-1], values[-1])}"  # as after every step
        elif names == known_names and values == known_values:
            return text
        elif older_names and (older_names, older_values) == (known_names[1:], known_values[1:]):
            # The oldest entry gave way to a new one.
            oldest = self._encode(known_names[0], known_values[0])
            newest = self._encode(names[-1], values[-1])
            text = f"{text[len(oldest) + 1 :]},{newest}"
        else:
            text = ",".join(map(self._encode, names, values))
        # Assigned at once, so that Ctrl-C cannot leave a half-made record.
        self._known = names, values, text
        return text
