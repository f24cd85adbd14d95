"""`run`: one run, from where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.given import given_object
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.progress import add_progress, progress_of
from aiocheckpoint._cli.running import run_one
from aiocheckpoint._cli.step_words import add_steps, step_of
from aiocheckpoint._cli.waits import add_wait

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    add = parser.add_argument
    add("--state", metavar="JSON|@FILE|-", help="the state to begin with")
    add("--update", metavar="JSON|@FILE|-", help="values for a paused run")
    add("--once", action="store_true", help="do not run a finished run again")
    add_steps(parser)
    add_wait(parser, "for another owner of the run, or for the pause")
    add_progress(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    arguments = context.arguments
    if arguments.state == arguments.update == "-":
        raise UsageProblem("--state and --update cannot both be read from standard input.")
    given: dict[str, Any] = {
        "state": given_object("--state", arguments.state),
        "update": given_object("--update", arguments.update),
        "checkpoint": step_of(arguments.checkpoint),
        "until": step_of(arguments.until),
        "once": arguments.once,
        "wait": arguments.wait,
        "run_id": context.run_id,
        "progress": progress_of(context),
    }

    async def call(flow: CheckpointFlow[Any]) -> None:
        if (run := context.run_id) is not None:
            header = await flow.aheader(run)
            if header is None:
                context.output.words(f"nothing is stored of {run}: this begins a new run.")
            elif header.finished and not arguments.once and arguments.checkpoint is None:
                context.output.words(f"{run} has finished: this runs it anew. --once does not.")
        await flow.arun(**given)

    return run_one(context, call)


COMMAND = Command(
    name="run",
    summary=SUMMARIES["run"],
    example="""aiocheckpoint run service:cp order-72 --state '{"item": "lamp", "quantity": 1}'""",
    configure=_configure,
    execute=_execute,
)
