"""What the place of the output can show: its width, colours and signs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Terminal"]


class Terminal(NamedTuple):
    """What a stream can show.

    Attributes:
        width: Columns of the terminal, or None where nothing is to be cut: in a pipe or a file.
        height: Lines of the terminal, or None.
        colour: Whether colours are wanted.
        unicode: Whether signs beyond ASCII can be encoded.
    """

    width: int | None
    height: int | None
    colour: bool
    unicode: bool

    @classmethod
    def of(cls, stream: TextIO, colour: str, environ: Mapping[str, str]) -> Terminal:
        """Look at a stream.

        Args:
            stream: The stream of the data.
            colour: "auto", "always" or "never".
            environ: The environment, with COLUMNS, NO_COLOR, FORCE_COLOR and TERM.
        """
        is_terminal = stream.isatty()
        width, height = _size(stream, environ) if is_terminal else (None, None)
        wanted = _wants_colour(colour, environ, is_terminal=is_terminal)
        return cls(width, height, wanted, _encodes_signs(stream))


def _wants_colour(colour: str, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    if colour != "auto":
        return colour == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environ.get("TERM") != "dumb"


def _size(stream: TextIO, environ: Mapping[str, str]) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = 0, 0
    return (
        _number(environ.get("COLUMNS")) or columns or 80,
        _number(environ.get("LINES")) or lines or 24,
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _encodes_signs(stream: TextIO) -> bool:
    try:
        "✓…→‖⊘".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
