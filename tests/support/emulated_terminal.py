"""A terminal that understands what the bars send, to see what a person sees."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["EmulatedTerminal"]

_CODE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class EmulatedTerminal:
    """The lines of a terminal, with what was scrolled away.

    Args:
        columns: Its width.

    Attributes:
        styles: The codes of colours that it got.
        widest: The columns of the widest line at any time.
    """

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.styles: list[str] = []
        self.widest = 0
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0

    def feed(self, text: str) -> EmulatedTerminal:
        """Show a text."""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                code = _CODE.match(text, at)
                assert code, f"a code of no known kind: {text[at : at + 20]!r}"
                self._obey(*code.groups())
                at = code.end()
            else:
                self._put(text[at])
                at += 1
        return self

    @property
    def lines(self) -> list[str]:
        """The lines, without what is blank at their ends, and without empty ones at the end."""
        shown = ["".join(line).rstrip() for line in self._lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def _obey(self, numbers: str, letter: str) -> None:
        if letter == "m":
            self.styles.append(numbers)
        elif (numbers, letter) == ("2", "K"):
            self._lines[self._row] = []
        elif letter == "A":
            self._row = max(self._row - int(numbers or 1), 0)
        else:
            raise AssertionError(f"a code of no known kind: {numbers}{letter}")

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":  # A terminal sends both for the end of a line.
            self._row, self._column = self._row + 1, 0
            if self._row == len(self._lines):
                self._lines.append([])
        else:
            assert character.isprintable(), f"not printable: {character!r}"
            self._show(character)

    def _show(self, character: str) -> None:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self._column + width > self.columns:
            self._put("\n")
        line = self._lines[self._row]
        line += [" "] * (self._column + width - len(line))
        line[self._column] = character
        if width == 2:
            line[self._column + 1] = ""
        self._column += width
        self.widest = max(self.widest, self._column)
