"""`aiocheckpoint watch`: the changes of runs by any process, as they come."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.filters import asks_for_some
from aiocheckpoint._cli.options import add_filters, add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.outcomes import code_of_status
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.rendering.changes import ChangeLines, ProgressLines
from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint.look._changes import Changes
from aiocheckpoint.look._following import ChangedRun, ChangedRuns
from aiocheckpoint.look._places import place_of

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_runs(parser)
    add_filters(parser)
    add_secret(parser)
    add_output(parser)


def _execute(context: Context) -> int:
    if context.output.form == "json":
        raise UsageProblem(
            "watch prints changes as they come, and no whole document. Use --output jsonl."
        )
    if context.runs and asks_for_some(context.filter()):
        raise UsageProblem("the filters choose among all runs, and one run is named. Leave it out.")
    run = _only_run(context)
    if run is None:
        _follow_all(context)
    return _follow_one(context, run)


def _only_run(context: Context) -> RunView | None:
    """The run that is named, or the run without an id where it is the only one."""
    store, flow = context.store(), context.flow_name
    if context.runs:
        return store.run(context.run_id, flow=flow)
    if asks_for_some(context.filter()):
        return None
    found = list(islice(store.runs(flow=flow, limit=2), 2))
    return found[0] if len(found) == 1 and found[0].run_id is None else None


def _follow_all(context: Context) -> NoReturn:
    store, output = context.store(), context.output
    changed = ChangedRuns(store, context.flow_name, context.filter())
    lines = ChangeLines(output)
    told = False
    for _ in Changes(place_of(store).files()).follow():
        for run in changed.look():
            _show(run, lines, output)
        output.flush()
        told = told or _tell(output)
    raise AssertionError  # Nothing ends the changes.


def _follow_one(context: Context, run: RunView) -> int:
    store, output = context.store(), context.output
    changed = ChangedRun(store, run.run_id, context.flow_name or run.flow or None)
    lines = ProgressLines(output)
    told = False
    for _ in Changes(place_of(store).files(run.location)).follow():
        seen = changed.look()
        if seen is None:
            continue
        _show(seen, lines, output)
        output.flush()
        if seen.status in ENDED:  # A failed or paused one may go on.
            return code_of_status(seen.status)
        told = told or _tell(output)
    raise AssertionError


def _tell(output: Output) -> bool:
    """Say that changes are seen from now on."""
    if output.is_text:
        output.words("Watching. Ctrl-C ends this, and leaves the runs alone.")
    return True


def _show(run: RunView, lines: ChangeLines | ProgressLines, output: Output) -> None:
    if output.is_text:
        lines.print(run)
    else:
        output.jsonl(run.to_json())


COMMAND = Command(
    name="watch",
    summary=SUMMARIES["watch"],
    example="aiocheckpoint watch orders.db order-42",
    configure=_configure,
    execute=_execute,
)
