"""Steps on the command line: an index, or a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser

__all__ = ["add_steps", "step_of"]


def add_steps(parser: CommandParser) -> None:
    """Add the options that say where a run starts and stops."""
    parser.add_argument(
        "--checkpoint", metavar="STEP", help="start at this step, by its name or index from 0"
    )
    parser.add_argument("--until", metavar="STEP", help="stop behind this step")


def step_of(word: str | None) -> int | str | None:
    """Read a step: decimal digits are an index, and anything else is a name."""
    if word is not None and word.isascii() and word.isdecimal():
        return int(word)
    return word
