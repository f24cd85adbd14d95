"""`aiocheckpoint flows`: the flows of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.flow_lists import list_flows
from aiocheckpoint._cli.nothing_found import say_if_empty
from aiocheckpoint._cli.options import add_output, add_secret, add_target

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_secret(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    named = context.flow_name
    flows = [one for one in context.store().flows() if named in (None, one.flow)]
    if not flows:
        context.check_flow()
        say_if_empty(context)
    list_flows(flows, context.output)
    return ExitCode.DONE


COMMAND = Command(
    name="flows",
    summary=SUMMARIES["flows"],
    example="aiocheckpoint flows orders.db",
    configure=_configure,
    execute=_execute,
)
