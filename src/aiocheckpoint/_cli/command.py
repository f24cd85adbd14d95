"""What a command is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the command line.

    Attributes:
        name: Its name.
        summary: One sentence that does not repeat the name.
        example: A command line that works, with long options. `--help` shows it.
        configure: Adds its options to its parser.
        execute: Does it, and gives the exit code.
    """

    name: str
    summary: str
    example: str
    configure: Callable[[CommandParser], None]
    execute: Callable[[Context], int]
