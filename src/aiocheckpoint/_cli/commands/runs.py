"""`aiocheckpoint runs`: the stored runs of a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_filters, add_output, add_secret, add_target
from aiocheckpoint._cli.output import Cell, Column
from aiocheckpoint._cli.times import ago, clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]

_COLUMNS = (
    Column("RUN", may_cut=True),
    Column("STATUS"),
    Column("AT STEP", may_cut=True),
    Column("ERROR", may_cut=True),
    Column("TRIES", right=True),
    Column("BEGAN"),
    Column("WROTE"),
)


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_filters(parser)
    parser.add_argument(
        "--sort", choices=("began", "wrote", "took"), default="began", help="the latest first"
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")
    parser.add_argument("--all", action="store_true", help="without a limit")
    add_secret(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    arguments, output = context.arguments, context.output
    limit = None if arguments.all else arguments.limit
    runs = context.store().runs(
        context.filter(), flow=context.flow_name, limit=limit, sort=arguments.sort
    )
    if not output.is_text:
        output.records("runs", (run.to_json() for run in runs))
        return ExitCode.DONE
    output.table(_COLUMNS, (_row(run, output) for run in runs))
    return ExitCode.DONE


def _row(run: RunView, output: Output) -> Sequence[Cell]:
    return (
        run.run_id if run.run_id is not None else "-",
        output.status(run.status),
        _place(run),
        run.failure.type if run.failure is not None else run.damage or "",
        f"{run.tries}" if run.tries else "",
        clock(run.started_at),
        ago(run.written_at),
    )


def _place(run: RunView) -> str:
    if run.step is None:
        return ""
    of = f"/{run.step_count}" if run.step_count else ""
    return f"{run.position + 1}{of} {run.step}"


COMMAND = Command(
    name="runs",
    summary=SUMMARIES["runs"],
    example="aiocheckpoint runs orders.db --status failed --since 2h",
    configure=_configure,
    execute=_execute,
)
