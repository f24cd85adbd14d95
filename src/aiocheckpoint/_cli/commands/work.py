"""`work`: a worker for the runs that are queued, due, or left by dead processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.chosen import filter_options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.many import Many
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.progress import add_progress, progress_of
from aiocheckpoint._cli.waits import add_limit

if TYPE_CHECKING:
    from aiocheckpoint import RunResult, Stream
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    add_limit(parser)
    parser.add_argument(
        "--until-empty",
        action="store_true",
        help="end when nothing is queued or due, with code 1 if a run failed",
    )
    options.add_filters(parser)
    add_progress(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    arguments, where = context.arguments, context.filter()
    if context.output.form == "json" and not arguments.until_empty:
        raise UsageProblem(
            "--output json is one document, printed at the end. Take --output jsonl for a worker "
            "that goes on, or add --until-empty."
        )
    flow = context.flow()
    many = Many(context, flow)

    def results() -> Stream[RunResult[Any]]:
        return flow.awork(
            limit=arguments.limit,
            until_empty=arguments.until_empty,
            status=where.statuses,
            progress=progress_of(context),
            **filter_options(where),
        )

    return many.work(lambda: many.results(results), is_worker=True)


COMMAND = Command(
    name="work",
    summary=SUMMARIES["work"],
    example="aiocheckpoint work service:cp --limit 10",
    configure=_configure,
    execute=_execute,
)
