"""`resume`: stored runs go on, one or many."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._cli import options
from aiocheckpoint._cli.chosen import filter_options, is_by_filter
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.many import Many
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.progress import add_progress, progress_of
from aiocheckpoint._cli.reports import Report
from aiocheckpoint._cli.waits import add_limit
from aiocheckpoint._model.statuses import BEGUN
from aiocheckpoint._runs.resuming import runs_to_resume
from aiocheckpoint.errors import CheckpointError, RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from aiocheckpoint import CheckpointFlow, RunResult, Stream
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser, most=None)
    options.add_all(parser, "all begun runs that are due, and none that is queued")
    options.add_filters(parser)
    add_limit(parser)
    options.add_dry_run(parser)
    parser.add_argument(
        "--fail-fast",
        action="store_true",
        help="behind the first run that fails, begin none, and stop the others behind their steps",
    )
    add_progress(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    if context.arguments.dry_run:
        return _plan_all(context)
    if is_by_filter(context):
        return _resume_by_filter(context)
    run_ids = [*dict.fromkeys(context.run_ids())]
    many = Many(context, context.flow())
    resumed = partial(_resumed, progress_of(context))
    return many.work(lambda: many.each(run_ids, resumed), of_one=len(run_ids) == 1)


async def _resumed(
    progress: ProgressWord, flow: CheckpointFlow[Any], run_id: str | None
) -> Outcome:
    await flow.aresume(run_id, progress=progress)
    return Outcome.of_stored(run_id, await flow.aheader(run_id))


def _resume_by_filter(context: Context) -> int:
    where, flow, many = context.filter(), context.flow(), Many(context, context.flow())
    limit: int = context.arguments.limit
    progress: ProgressWord = progress_of(context)

    def results() -> Stream[RunResult[Any]]:
        return flow.aresume_all(
            limit=limit, status=where.statuses, progress=progress, **filter_options(where)
        )

    return many.work(lambda: many.results(results))


def _plan_all(context: Context) -> int:
    flow, report = context.flow(), Report(context.output)
    for run in _unreadable_runs(context):
        report.add(Outcome(run.run_id, "refused", ExitCode.DAMAGED, f"refused: {run.damage}"))
    for run_id in _ids_to_plan(context):
        report.add(_planned(flow, run_id))
    counts = report.counts
    words = [f"{counts['would run'] or 'none'} would run"]
    if counts["would not run"]:
        words.append(f"{counts['would not run']} would not")
    words.append(f"{counts['refused'] or 'none'} refused")
    report.end(f"{', '.join(words)}. Nothing was done.")
    return report.code(of_one=len(context.runs) == 1)


def _ids_to_plan(context: Context) -> list[str | None]:
    """The runs that the command would take. Without a filter they are the ones that are due."""
    if not is_by_filter(context):
        return [*dict.fromkeys(context.run_ids())]
    where = context.filter()
    core = context.flow()._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no method lists them
    headers = runs_to_resume(core, where.statuses, filter_options(where))
    return [header.run_id for header in headers]


def _unreadable_runs(context: Context) -> Iterator[RunView]:
    """The chosen runs that the flow cannot read, for instance as it has another secret."""
    if is_by_filter(context):
        where = context.filter()
        if where.statuses is None and not where.stale:  # A stale run is shown as running.
            where = where._replace(statuses=BEGUN)
        runs = context.store().runs(where, flow=context.flow_name)
        yield from (run for run in runs if run.damage is not None)


def _planned(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
    try:
        header = flow.header(run_id)
        if header is None:
            raise RunNotFoundError(flow.handler.locate(run_id))
    except CheckpointError as error:
        return Outcome.of_refusal(run_id, error)
    if header.finished:
        return Outcome(run_id, "would not run", words="would stay as it is: the run finished")
    return Outcome.of_plan(run_id, flow.plan(run_id=run_id))


COMMAND = Command(
    name="resume",
    summary=SUMMARIES["resume"],
    example="aiocheckpoint resume service:cp --status failed --dry-run",
    configure=_configure,
    execute=_execute,
)
