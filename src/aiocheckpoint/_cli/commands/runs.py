"""`aiocheckpoint runs`: the stored runs of a flow."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.filters import asks_for_some, filter_words
from aiocheckpoint._cli.nothing_found import say_if_empty
from aiocheckpoint._cli.options import add_copy, add_filters, add_output, add_secret, add_target
from aiocheckpoint._cli.output import Cell, Column
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._display.run_facts import due_words, note_of, place_of_run, run_name
from aiocheckpoint._display.times import ago, clock
from aiocheckpoint._model.statuses import BROKEN
from aiocheckpoint._texts import type_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]

_SORTS = {"began": "begun last", "wrote": "written last", "took": "that took longest"}


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_filters(parser)
    group = parser.add_argument_group("which part of the list")
    group.add_argument(
        "--sort", choices=tuple(_SORTS), default="began", help="began, wrote or took, latest first"
    )
    group.add_argument("--limit", type=int, default=50, metavar="N", help="so many at most (50)")
    group.add_argument("--all", action="store_true", help="without a limit")
    add_secret(parser)
    add_copy(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    arguments, where = context.arguments, context.filter()
    if arguments.limit < 1:
        raise UsageProblem("--limit is a number from 1 on. --all lists all runs.")
    limit = None if arguments.all else arguments.limit
    runs = context.store().runs(where, flow=context.flow_name, limit=limit, sort=arguments.sort)
    first = next(runs, None)
    if first is None:
        context.check_flow()
        say_if_empty(context)
    else:
        runs = chain((first,), runs)
    if context.output.is_text:
        _print_table(context, where, runs, limit)
    else:
        context.output.records("runs", (run.to_json() for run in runs))
    return ExitCode.DONE


def _print_table(
    context: Context, where: RunFilter, runs: Iterator[RunView], limit: int | None
) -> None:
    output = context.output
    listed = list(runs) if limit is not None else None
    if output.header:
        output.data(_title(context, where, listed))
    with_status = where.statuses is None or len(where.statuses) > 1
    columns = _columns(with_status=with_status, wide=output.wide)
    if listed == []:
        return
    shown = runs if listed is None else listed
    output.table(columns, (_row(run, output, with_status=with_status) for run in shown))
    resumable = [
        run for run in listed or () if run.status in {"running", *BROKEN} and run.owner is None
    ]
    if context.target.is_module and resumable:
        chosen = filter_words(context.arguments) or _choice_of(resumable)
        words = ["aiocheckpoint", "resume", context.target.text, *chosen, "--dry-run"]
        output.suggest("What resuming would do", words)


def _choice_of(runs: list[RunView]) -> list[str]:
    """Choose runs: by `--all`, which takes those that are due, or by their statuses if none is."""
    if any(due_words(run) == "due now" for run in runs):
        return ["--all"]
    return ["--status", ",".join(sorted({run.status for run in runs}))]


def _title(context: Context, where: RunFilter, listed: list[RunView] | None) -> str:
    """Say how many runs are listed, and of how many.

    Args:
        context: The context.
        where: The filter.
        listed: The runs, up to the limit. None where all chosen ones are listed.
    """
    store, named, chosen = context.store(), context.flow_name, asks_for_some(where)
    if listed is None:
        counted = store.count((), where, flow=named)
        number, flow = counted.total, counted.flow
    else:
        number, flow = len(listed), listed[0].flow if listed else named or ""
    is_part = listed is not None and number == context.arguments.limit
    total = store.count((), flow=named).total if chosen or is_part else number
    words = [f"{number:,}", *_choice(where)]
    if is_part and number < total:
        words = ["the", *words, _SORTS[context.arguments.sort]]
    if chosen or number < total:
        words += ["of", f"{total:,}"]
    words += ["run" if total == 1 else "runs", *(["of", flow] if flow else [])]
    return " ".join([*words, "in", context.place])


def _choice(where: RunFilter) -> list[str]:
    if where.statuses:
        return [" or ".join(sorted(where.statuses))]
    return ["chosen"] if asks_for_some(where) else []


def _columns(*, with_status: bool, wide: bool) -> list[Column]:
    status = [Column("STATUS")] if with_status else []
    more = [Column("RUN NO.", right=True), Column("BYTES", right=True), Column("NOTE")]
    return [
        Column("RUN", cut="middle"),
        *status,
        Column("AT STEP", cut="middle"),
        Column("ERROR", cut="start"),
        Column("TRIES", right=True),
        Column("BEGAN"),
        Column("WROTE"),
        *(more if wide else []),
    ]


def _row(run: RunView, output: Output, *, with_status: bool) -> list[Cell]:
    status = [output.status(run.status)] if with_status else []
    more = [f"{run.number}", f"{run.size:,}", note_of(run)]
    return [
        run_name(run),
        *status,
        place_of_run(run),
        type_shown(run.failure.type) if run.failure is not None else "",
        f"{run.tries}" if run.tries else "",
        clock(run.started_at),
        ago(run.written_at),
        *(more if output.wide else []),
    ]


COMMAND = Command(
    name="runs",
    summary=SUMMARIES["runs"],
    example="aiocheckpoint runs orders.db --status failed --since 2h",
    configure=_configure,
    execute=_execute,
)
