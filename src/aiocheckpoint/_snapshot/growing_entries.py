"""The JSON of a dict that gets one entry more at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GrowingEntries"]

_Value = TypeVar("_Value")


class _Known(NamedTuple, Generic[_Value]):
    """What is known of a dict that was formatted.

    Attributes:
        entries: The dict, which may have changed since.
        length: The number of its entries then.
        oldest: Its first entry then.
        newest: Its last entry then.
        text: Its text then.
    """

    entries: dict[str, _Value]
    length: int
    oldest: tuple[str, _Value]
    newest: tuple[str, _Value]
    text: str


class GrowingEntries(Generic[_Value]):
    """Formats the entries of a dict, of which only new ones are formatted again.

    Formatting 20 entries at each step would take as long as all other work for a header.

    An entry is changed by deleting it and adding it anew, so that it becomes the last one, with a
    new object as its value.

    Args:
        encode: Formats one entry.
    """

    __slots__ = ("_encode", "_known")

    def __init__(self, encode: Callable[[str, _Value], str]) -> None:
        self._encode = encode
        self._known: _Known[_Value] | None = None

    def text(self, entries: dict[str, _Value]) -> str:
        """The entries with commas between them."""
        if not entries:
            return ""
        backwards = reversed(entries.items())
        newest = next(backwards)
        known = self._known
        text = None
        if known is not None and entries is known.entries:
            if len(entries) == known.length and _is_one(newest, known.newest):
                return known.text
            if len(entries) > 1 and _is_one(next(backwards), known.newest):
                text = self._with_one_more(entries, known, newest)
        if text is None:
            text = ",".join([self._encode(*entry) for entry in entries.items()])
        # Assigned at once, so that Ctrl-C cannot leave a half-made record.
        oldest = next(iter(entries.items()))
        self._known = _Known(entries, len(entries), oldest, newest, text)
        return text

    def _with_one_more(
        self, entries: dict[str, _Value], known: _Known[_Value], newest: tuple[str, _Value]
    ) -> str | None:
        """The text of a dict that has got one entry. None where one was lost from its midst."""
        if len(entries) == known.length + 1:
            return f"{known.text},{self._encode(*newest)}"  # as after every step
        if len(entries) < known.length or next(iter(entries)) == known.oldest[0]:
            return None
        # The oldest entry gave way to the new one.
        oldest = self._encode(*known.oldest)
        return f"{known.text[len(oldest) + 1 :]},{self._encode(*newest)}"


def _is_one(entry: tuple[str, object], other: tuple[str, object]) -> bool:
    """Whether two entries are one, which was not added anew meanwhile."""
    return entry[1] is other[1] and entry[0] == other[0]
