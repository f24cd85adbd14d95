"""`backup`: a copy of a store, also while it is in use."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.problems import CommandProblem, UsageProblem
from aiocheckpoint.errors import StorageError

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.handlers import StateHandler

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    options.add_runs(parser)
    parser.run_word = "PATH"
    options.add_output(parser)


def _execute(context: Context) -> int:
    path = context.run_id
    if path is None:
        raise UsageProblem("backup copies a store to a path: name it behind the target.")
    _copy(context.handler(), path)
    if context.output.is_text:
        context.output.words(f"{context.target} was copied to {path}.")
    else:
        context.output.record("backup", {"copied": str(context.target), "to": path})
    return ExitCode.DONE


def _copy(handler: StateHandler, path: str) -> None:
    """Copy the store. The place of a copy that cannot be made is no missing store."""
    try:
        handler.backup(path)
    except StorageError as error:
        if error.errno == errno.ENOENT and error.__cause__ is not None:
            raise CommandProblem(str(error)) from None
        raise


COMMAND = Command(
    name="backup",
    summary=SUMMARIES["backup"],
    example="aiocheckpoint backup orders.db copies/orders.db",
    configure=_configure,
    execute=_execute,
)
