"""`retry`: a stored run again from one of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.running import run_one
from aiocheckpoint._cli.step_words import step_of
from aiocheckpoint.errors import RunNotFoundError

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    parser.add_argument(
        "--from",
        dest="step",
        metavar="STEP",
        required=True,
        help="the step to start at, by its name or index from 0",
    )
    options.add_output(parser)


def _execute(context: Context) -> int:
    run_id, step = context.run_id, step_of(context.arguments.step)

    async def call(flow: CheckpointFlow[Any]) -> None:
        if await flow.aheader(run_id) is None:  # `arun` would begin a run in the middle.
            raise RunNotFoundError(flow.handler.locate(run_id), "retry")
        await flow.arun(run_id=run_id, checkpoint=step)

    return run_one(context, call)


COMMAND = Command(
    name="retry",
    summary=SUMMARIES["retry"],
    example="aiocheckpoint retry service:cp order-42 --from charge",
    configure=_configure,
    execute=_execute,
)
