"""What a terminal can show, and lines for it."""

from __future__ import annotations

from typing import NamedTuple

from aiocheckpoint._display.signs import sign_of
from aiocheckpoint._texts import width_of

__all__ = ["Line", "Part", "TerminalStyle", "encodes_signs", "width_of_line"]

Part = tuple[str, str]
"""A harmless text, and the status in whose colour it is shown, or ""."""
Line = list[Part]


class TerminalStyle(NamedTuple):
    """What a terminal can show.

    Attributes:
        width: The columns of a line.
        unicode: Whether signs beyond ASCII can be encoded.
    """

    width: int
    unicode: bool

    @property
    def dots(self) -> str:
        """The text in place of a part that is cut out."""
        return "…" if self.unicode else "..."

    def sign(self, status: str) -> str:
        """The sign of a status."""
        sign = sign_of(status)
        return sign.sign if self.unicode else sign.ascii


def width_of_line(line: Line) -> int:
    """Count the columns of a line."""
    return sum(width_of(text) for text, _ in line)


def encodes_signs(encoding: str | None) -> bool:
    """Whether an encoding has the signs."""
    try:
        "✓…▶‖⊘█░".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
