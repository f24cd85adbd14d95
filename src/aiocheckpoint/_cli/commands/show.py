"""`aiocheckpoint show`: one run, with its steps and what it broke on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_copy, add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.run_card import print_failure, print_run

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_runs(parser, most=1)
    parser.add_argument(
        "--traceback",
        choices=("full", "last", "none"),
        default="full",
        help="how much of it: full, last (its last line) or none",
    )
    add_secret(parser)
    add_copy(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    output = context.output
    run = context.store().run(context.run_id, flow=context.flow_name, sizes=True)
    if output.form == "json":
        output.json({"run": run.to_json()})
    elif output.form == "jsonl":
        output.jsonl(run.to_json())
    else:
        print_run(run, output)
        print_failure(run, output, context.arguments.traceback)
        _say_what_comes_next(run, context)
    return ExitCode.DONE if run.damage is None else ExitCode.DAMAGED


def _say_what_comes_next(run: RunView, context: Context) -> None:
    if run.damage is not None or run.step is None or run.status in {"terminated", "finished"}:
        return
    context.output.words(f"It goes on at {run.step!r}, with the stored state.")
    if context.target.is_module:
        name = [] if run.run_id is None else [run.run_id]
        words = ["aiocheckpoint", "plan", context.target.text, *name]
        context.output.suggest("Where and why in full", words)


COMMAND = Command(
    name="show",
    summary=SUMMARIES["show"],
    example="aiocheckpoint show orders.db order-42 --traceback last",
    configure=_configure,
    execute=_execute,
)
