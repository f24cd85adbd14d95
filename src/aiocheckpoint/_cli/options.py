"""The options that commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from aiocheckpoint._model.header import Status

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser

__all__ = [
    "add_all",
    "add_copy",
    "add_dry_run",
    "add_filters",
    "add_output",
    "add_reason",
    "add_runs",
    "add_secret",
    "add_target",
    "add_write",
    "add_yes",
]

_TIMES = "2h or 30d ago, or a date such as 2026-11-30"


def add_target(parser: CommandParser, *, module: bool = False) -> None:
    """Add the target, and what loads it. The words behind it are added by `add_runs`.

    Args:
        parser: The parser.
        module: Whether the command needs the code of the flow, and takes no bare store.
    """
    parser.add_argument("words", nargs="*", metavar="TARGET", help=argparse.SUPPRESS)
    kinds = "package.module:flow" if module else "path, URL or package.module:flow"
    group = parser.add_argument_group("target")
    group.add_argument(
        "--target",
        metavar="TARGET",
        help=f"the {kinds}, where all words are runs (AIOCHECKPOINT_TARGET)",
    )
    parser.add_setting(
        "--flow", group=group, metavar="NAME", help="the flow, of several in a store"
    )
    parser.add_setting(
        "--factory",
        group=group,
        action="store_true",
        help="the attribute is a function without arguments that makes the flow",
    )
    parser.add_setting(
        "--app-dir", group=group, metavar="DIR", help="look for the module there, and not here"
    )


def add_runs(parser: CommandParser, *, most: int | None = 1) -> None:
    """Let runs follow the target.

    Args:
        parser: The parser, with the target added.
        most: How many. None is for any number, with "-" for the lines of stdin. Without any, it is
            the run without an id.
    """
    parser.most_runs = most


def add_all(parser: CommandParser, which: str) -> None:
    """Add `--all`, which chooses runs where none is named, and no filter is given.

    Args:
        parser: The parser.
        which: Says which runs these are.
    """
    parser.add_argument("--all", action="store_true", help=f"without a filter: {which}")


def add_secret(parser: CommandParser) -> None:
    """Add the secret of a bare store, which is never given as a value."""
    group = parser.add_argument_group("secret")
    parser.add_setting(
        "--secret-env",
        group=group,
        metavar="NAME",
        action="append",
        default=[],
        help="check signatures with the secret in this environment variable",
    )
    parser.add_setting(
        "--secret-file",
        group=group,
        metavar="PATH",
        action="append",
        default=[],
        help="check signatures with the secret in this file",
    )


def add_filters(parser: CommandParser) -> None:
    """Add the filters of runs."""
    group = parser.add_argument_group("which runs")
    add = group.add_argument
    statuses = f"runs of these statuses, several by commas: {', '.join(get_args(Status))}"
    add("--status", action="append", default=[], metavar="WORDS", help=statuses)
    add("--step", action="append", default=[], metavar="NAME", help="runs that stand at this step")
    add("--error", metavar="GLOB", help="runs that broke on such a type: TimeoutError, 'httpx.*'")
    add("--id", metavar="GLOB", help="runs whose id is such a one, as 'order-*'")
    add("--tried", type=int, metavar="N", help="runs with so many attempts at their step or more")
    add("--stale", action="store_true", help="runs that are shown as running, with no process left")
    add("--since", metavar="TIME", help=f"runs that were written since then: {_TIMES}")
    add("--before", metavar="TIME", help=f"runs that were written last before then: {_TIMES}")


def add_output(parser: CommandParser, *, pager: bool = False) -> None:
    """Add how the output looks.

    Args:
        parser: The parser.
        pager: Whether the output may go through a pager, as that of a long list.
    """
    group = parser.add_argument_group("output")
    parser.add_setting(
        "--output",
        group=group,
        choices=("text", "json", "jsonl"),
        default="text",
        help="text, json (one document) or jsonl (a line each)",
    )
    parser.add_setting(
        "--color",
        group=group,
        choices=("auto", "always", "never"),
        default="auto",
        help="auto, always or never",
    )
    parser.add_setting(
        "--no-header", group=group, action="store_true", help="tables without titles"
    )
    parser.add_setting("--wide", group=group, action="store_true", help="cut nothing, show more")
    if pager:
        group.add_argument("--pager", action="store_true", help="page through a long output")


def add_copy(parser: CommandParser) -> None:
    """Add `--copy`, for a command that suggests another one."""
    parser.add_argument(
        "--copy", action="store_true", help="put the suggested command into the clipboard"
    )


def add_write(parser: CommandParser) -> None:
    """Add `--write`, without which a bare store is opened for reading alone."""
    parser.add_argument("--write", action="store_true", help="let a bare store be changed")


def add_reason(parser: CommandParser) -> None:
    """Add the reason that is stored with a change."""
    parser.add_setting("--reason", metavar="TEXT", help="who or why, stored with the run")


def add_yes(parser: CommandParser) -> None:
    """Add the answer to the question before a change."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def add_dry_run(parser: CommandParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
