"""`compact`: space that a store no longer needs goes back to the file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    options.add_write(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    freed = context.handler(writes=True).compact()
    if context.output.is_text:
        context.output.data(f"{freed:,} bytes given back")
    else:
        context.output.record("compact", {"bytes": freed})
    return ExitCode.DONE


COMMAND = Command(
    name="compact",
    summary=SUMMARIES["compact"],
    example="aiocheckpoint compact orders.db --write",
    configure=_configure,
    execute=_execute,
)
