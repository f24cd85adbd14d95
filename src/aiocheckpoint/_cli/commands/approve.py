"""`approve`: the answer to a paused run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.given import given_values
from aiocheckpoint._cli.running import run_one

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    add = parser.add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value of the answer: JSON, and else text",
    )
    add("--answers", type=int, metavar="N", help="the number of the pause that is answered")
    options.add_output(parser)


def _execute(context: Context) -> int:
    update = given_values("--set", context.arguments.set)
    answers: int | None = context.arguments.answers

    async def call(flow: CheckpointFlow[Any]) -> None:
        await flow.aresume(context.run_id, update, answers)

    return run_one(context, call)


COMMAND = Command(
    name="approve",
    summary=SUMMARIES["approve"],
    example="aiocheckpoint approve service:cp order-60 --set by=Ann",
    configure=_configure,
    execute=_execute,
)
