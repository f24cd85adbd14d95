"""Seconds and numbers of runs on the command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser

__all__ = ["MOST_AT_ONCE", "add_limit", "add_wait"]

MOST_AT_ONCE = 100
"""Runs at once, unless `--limit` gives another number."""


def add_wait(parser: CommandParser, purpose: str) -> None:
    """Add `--wait`."""
    parser.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, default=0.0, help=f"wait so long {purpose}"
    )


def add_limit(parser: CommandParser) -> None:
    """Add `--limit`, the most runs at once."""
    parser.add_argument(
        "--limit",
        metavar="N",
        type=_count,
        default=MOST_AT_ONCE,
        help=f"the most runs at once ({MOST_AT_ONCE})",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageProblem("--wait takes a number of seconds, from 0 on.")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UsageProblem("--limit takes a number of runs, from 1 on.")
    return int(text)
