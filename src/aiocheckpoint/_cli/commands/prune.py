"""`prune`: runs that ended long ago are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli import options
from aiocheckpoint._cli.changes import asked_about, lacks_secret
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.filters import statuses_of
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.run_facts import run_in_words
from aiocheckpoint._cli.times import now, parse_duration
from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.handlers._run_filter import RunFilter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._model.header import Status
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]

_FINISHED: frozenset[Status] = frozenset({"finished"})


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_duration,
        required=True,
        help="the least age of a run's newest snapshot, such as 30d or 12h",
    )
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="WORDS",
        help="runs of these statuses, several by commas (finished)",
    )
    options.add_dry_run(parser)
    options.add_yes(parser)
    options.add_write(parser)
    options.add_secret(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    arguments, output = context.arguments, context.output
    age: timedelta = arguments.older_than
    statuses = statuses_of(arguments.status) or _FINISHED
    where = RunFilter(statuses=statuses, before=now() - age.total_seconds())
    flow = None if arguments.dry_run else context.writable_flow()
    store, name = context.store(), context.flow_name
    count = store.count(where=where, flow=name).total
    examples = list(store.runs(where, flow=name, limit=MOST_EXAMPLES, damaged=False))
    if flow is None or not count:
        return _shown(context, "would_delete" if arguments.dry_run else "deleted", count, examples)
    _check_secret(context, where)
    if not asked_about(context, "Delete", count, [run.run_id for run in examples]):
        return ExitCode.FAILED
    deleted = flow.prune(age, statuses)
    if deleted < count:
        output.words(f"{count - deleted:,} stay: they are in progress, or of another flow.")
    return _shown(context, "deleted", deleted, examples)


def _check_secret(context: Context, where: RunFilter) -> None:
    runs = context.store().runs(where, flow=context.flow_name, damaged=False)
    if any(lacks_secret(context, run.signed_by) for run in runs):
        raise UsageProblem(
            f"the runs in {context.target} are signed. Name their secret by --secret-env or "
            "--secret-file, so that nobody deletes what somebody else wrote into the store."
        )


def _shown(context: Context, key: str, count: int, examples: Sequence[RunView]) -> int:
    output = context.output
    if not output.is_text:
        output.record("prune", {key: count, "examples": [run.run_id for run in examples]})
        return ExitCode.DONE
    names = ", ".join(run_in_words(run.run_id) for run in examples)
    some = f": {names}{', ...' if count > len(examples) else ''}" if count else ""
    verb = "would delete" if key == "would_delete" else "deleted"
    output.data(f"{verb} {counted(count, 'run')}{some}")
    return ExitCode.DONE


COMMAND = Command(
    name="prune",
    summary=SUMMARIES["prune"],
    example="aiocheckpoint prune orders.db --older-than 30d --dry-run",
    configure=_configure,
    execute=_execute,
)
