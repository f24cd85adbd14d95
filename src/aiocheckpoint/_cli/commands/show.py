"""`aiocheckpoint show`: one run, with its steps and what it broke on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_copy, add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.pause_words import suggest_answer
from aiocheckpoint._cli.run_card import print_failure, print_history, print_run
from aiocheckpoint._engine.resume_command import words_of_run
from aiocheckpoint._model.statuses import ENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView, SnapshotView

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
    parser.add_argument("--values", action="store_true", help="show values that are plain data")
    parser.add_argument("--history", action="store_true", help="list the kept snapshots")
    add_secret(parser)
    add_copy(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    arguments, store, output = context.arguments, context.store(), context.output
    named = context.run_id, context.flow_name
    run = store.run(named[0], flow=named[1], sizes=True, values=arguments.values)
    kept = store.history(named[0], flow=named[1]) if arguments.history else None
    if output.is_text:
        print_run(run, output)
        if kept is not None:
            print_history(kept, output)
        print_failure(run, output, arguments.traceback)
        _say_what_comes_next(run, context)
    else:
        _print_record(run, kept, output)
    return ExitCode.DONE if run.damage is None else ExitCode.DAMAGED


def _print_record(run: RunView, kept: Sequence[SnapshotView] | None, output: Output) -> None:
    history = {} if kept is None else {"history": [one.to_json() for one in kept]}
    if output.form == "json":
        output.json({"run": run.to_json(), **history})
    else:
        output.jsonl({**run.to_json(), **history})


def _say_what_comes_next(run: RunView, context: Context) -> None:
    if run.damage is not None or run.step is None or run.status in ENDED:
        return
    if run.status == "paused":
        where = "" if context.target.is_module else " of its flow, package.module:flow,"
        context.output.words(f"It waits at {run.step!r}. The command approve{where} answers it.")
        suggest_answer(context)
        return
    context.output.words(f"It goes on at {run.step!r}, with the stored state.")
    if context.target.is_module:
        words = ["aiocheckpoint", "plan", context.target.text, *words_of_run(run.run_id)]
        context.output.suggest("Where and why in full", words)


COMMAND = Command(
    name="show",
    summary=SUMMARIES["show"],
    example="aiocheckpoint show orders.db order-42 --traceback last",
    configure=_configure,
    execute=_execute,
)
