"""Texts of strangers on a terminal: made harmless, measured, cut and counted."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MOST_EXAMPLES",
    "counted",
    "cut_middle",
    "cut_start",
    "harmless",
    "quoted",
    "type_shown",
    "width_of",
]

MOST_EXAMPLES = 3
"""Runs or files that a text names of many."""
_LONGEST_NAME = 60
_CHARACTERS = 4
"""The most characters of a cut text for each of its columns. Combining marks take no column."""


def harmless(text: str) -> str:
    r"""Show what is not printable by its escape, such as `\x1b` and `\n`.

    A stored text must not steer the terminal. Marks that turn the direction of writing and lone
    surrogates are escaped too. The result stays the same if it is made harmless again.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def width_of(text: str) -> int:
    """Count the columns of a terminal that a harmless text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(one) for one in text)


@lru_cache(maxsize=1024)  # Signs and bars, which a display paints again and again.
def _columns(character: str) -> int:
    import unicodedata  # noqa: PLC0415 - its tables are large, and most texts are ASCII

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut_middle(text: str, width: int, dots: str = "…") -> str:
    """Cut the middle out of a text that is wider, since ids differ at their ends.

    Args:
        text: A harmless text.
        width: The columns that it may take, at least one more than the dots.
        dots: What stands for the missing part.
    """
    if _fits(text, width):
        return text
    room = width - len(dots)
    tail = _taken(reversed(text), room // 2, _CHARACTERS * (room // 2))
    head = _taken(iter(text), room - width_of(tail), _CHARACTERS * room - len(tail))
    return head + dots + tail[::-1]


def cut_start(text: str, width: int, dots: str = "…") -> str:
    """Cut the start off a text that is wider, as the end of a dotted name tells most.

    Args:
        text: A harmless text.
        width: The columns that it may take, at least one more than the dots.
        dots: What stands for the missing part.
    """
    if _fits(text, width):
        return text
    return dots + _taken(reversed(text), width - len(dots), _CHARACTERS * width)[::-1]


def type_shown(name: str) -> str:
    """Give the name of a type as people know it: a built-in one without its module."""
    return name.removeprefix("builtins.")


def quoted(name: str) -> str:
    """Quote a name, cut where it is long. It cannot steer a terminal."""
    return cut_middle(repr(name), _LONGEST_NAME)


def counted(count: int, noun: str, verbs: tuple[str, str] = ("", ""), *, of: str = "") -> str:
    """Count things, such as "1 run of 'orders' is" or "3 files".

    Args:
        count: The number.
        noun: The noun for one.
        verbs: The verb for one, and that for several.
        of: The flow that the things are of.
    """
    things = f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
    whose = f"of {quoted(of)}" if of else ""
    return " ".join(filter(None, (things, whose, verbs[count != 1])))


def _fits(text: str, width: int) -> bool:
    return len(text) <= _CHARACTERS * width and width_of(text) <= width


def _taken(characters: Iterator[str], room: int, most: int) -> str:
    taken: list[str] = []
    for one in islice(characters, most):
        room -= _columns(one)
        if room < 0:
            break
        taken.append(one)
    return "".join(taken)
