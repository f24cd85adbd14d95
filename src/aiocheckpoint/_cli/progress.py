"""The option `--progress` of commands that execute runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._display.live.displays import ProgressWord

__all__ = ["add_progress", "progress_of"]


def add_progress(parser: CommandParser) -> None:
    """Add `--progress`."""
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "none"),
        default="auto",
        help="on stderr: a bar, or a line for each step; auto is a bar on a terminal alone",
    )


def progress_of(context: Context) -> ProgressWord:
    """Give the word for `progress=` of a flow. Nothing is added to JSON unless it is asked for."""
    word: ProgressWord = context.arguments.progress
    return "none" if word == "auto" and not context.output.is_text else word
