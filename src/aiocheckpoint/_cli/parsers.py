"""The parsers of all commands, made of their modules when they are needed."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from importlib import import_module
from typing import TYPE_CHECKING, cast

from aiocheckpoint._cli.command_parser import PROGRAM, CommandParser, nearest
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import MEANINGS
from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.command import Command

__all__ = ["general_help", "load_command", "make_parser"]

_ELSEWHERE = {"list": "runs", "ls": "runs", "help": "--help", "-V": "--version"}
"""Words that other programs have, and what they are here."""
_TARGETS = """\
A TARGET is a bare store, which is read and never executed:
  orders.db   sqlite:///orders.db   runs/   checkpoint.pkl
or a flow in a module, which is imported, from the current directory first:
  package.module:attribute
It is left out where AIOCHECKPOINT_TARGET, or [tool.aiocheckpoint] target in pyproject.toml, has it.

A RUN that is left out is the run without an id. - reads ids from stdin: plain ones, one a line, or
JSON lines with "run_id", as --output jsonl prints them.
"""


def general_help() -> str:
    """Give the help of the whole program, without importing a command."""
    width = max(map(len, SUMMARIES))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items())
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return (
        f"usage: {PROGRAM} COMMAND TARGET [RUN...] [options]\n"
        f"       {PROGRAM} COMMAND --help\n\n"
        f"See and steer the stored runs of flows.\n\ncommands:\n{commands}\n\n"
        f"{_TARGETS}\nexit codes:\n{codes}\n"
    )


def load_command(name: str, behind: Sequence[str] = ()) -> Command:
    """Import the module of a command.

    Args:
        name: Its name.
        behind: The words behind it.

    Raises:
        UsageProblem: There is none of this name.
    """
    if name not in SUMMARIES:
        raise UsageProblem(
            f"there is no command {name!r}.{_meant(name, behind)}",
            behind=[f"{PROGRAM} --help lists all commands."],
        )
    module = import_module(f"aiocheckpoint._cli.commands.{name}")
    return cast("Command", module.COMMAND)


def _meant(name: str, behind: Sequence[str]) -> str:
    if behind and behind[0] in SUMMARIES:
        return f" The command comes first: {PROGRAM} {behind[0]} {name}."
    if name in _ELSEWHERE:
        return f" Did you mean {_ELSEWHERE[name]!r}?"
    return nearest(name, [*SUMMARIES])


def make_parser(command: Command) -> CommandParser:
    """Make the parser of a command, with its usage and example."""
    parser = CommandParser(
        command.name,
        description=f"{command.summary}.",
        epilog=f"example:\n  {command.example}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.configure(parser)
    parser.usage = " ".join([parser.prog, *_usage_words(parser), "[options]"])
    return parser


def _usage_words(parser: CommandParser) -> list[str]:
    words = ["[TARGET]"]
    if parser.most_runs is None:
        words.append(f"[{parser.run_word}...|-]")
    elif parser.most_runs:
        words.append(f"[{parser.run_word}]")
    return words
