"""`prune`: runs that ended long ago are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._cli import options
from aiocheckpoint._cli.changes import asked_about, is_trusted
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.filters import statuses_of
from aiocheckpoint._cli.times import parse_duration
from aiocheckpoint._display.run_facts import run_in_words
from aiocheckpoint._display.times import now
from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import RunFilter

if TYPE_CHECKING:
    from datetime import timedelta

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._model.header import Status

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


class _Found(NamedTuple):
    """What a prune finds.

    Attributes:
        total: The number of runs that it deletes.
        examples: The ids of some of them.
        refused: The number of runs whose signatures keep them.
    """

    total: int
    examples: list[str | None]
    refused: int = 0


def _execute(context: Context) -> int:
    arguments, output = context.arguments, context.output
    age: timedelta = arguments.older_than
    statuses = statuses_of(arguments.status) or _FINISHED
    where = RunFilter(statuses=statuses, before=now() - age.total_seconds())
    flow = None if arguments.dry_run else context.writable_flow()
    found = _found(context, where)
    if flow is None or not found.total:
        return _shown(context, "would_delete" if arguments.dry_run else "deleted", found)
    if not asked_about(context, "Delete", found.total, found.examples):
        return ExitCode.FAILED
    if context.target.is_module:
        deleted = flow.prune(age, statuses)
    else:  # A run may have been stored since it was looked at.
        deleted = flow.handler.prune_trusted(Query(where=where))
    if deleted < found.total:
        left = found.total - deleted
        output.words(f"{left:,} stay: they are in progress, or of another flow.")
    return _shown(context, "deleted", found._replace(total=deleted))


def _found(context: Context, where: RunFilter) -> _Found:
    store, name = context.store(), context.flow_name
    if context.target.is_module:
        examples = store.runs(where, flow=name, limit=MOST_EXAMPLES, damaged=False)
        return _Found(store.count((), where, flow=name).total, [run.run_id for run in examples])
    count, refused, some = 0, 0, list[str | None]()
    for run in store.runs(where, flow=name):
        if not is_trusted(context, run):
            refused += 1
            continue
        count += 1
        if len(some) < MOST_EXAMPLES:
            some.append(run.run_id)
    return _Found(count, some, refused)


def _refuse(context: Context, refused: int) -> ExitCode:
    """Say how many signed runs stay, and give the exit code for them."""
    if not refused:
        return ExitCode.DONE
    some = counted(refused, "run", ("is", "are"))
    if context.secrets is None:
        context.output.words(
            f"{some} refused, being signed. Name the secret by --secret-env or --secret-file, "
            "so that nobody deletes what somebody else wrote into the store."
        )
        return ExitCode.USAGE
    context.output.words(f"{some} refused, not being signed with the secret that was given.")
    return ExitCode.DAMAGED


def _shown(context: Context, key: str, found: _Found) -> ExitCode:
    output, count, examples = context.output, found.total, found.examples
    code = _refuse(context, found.refused)
    if not output.is_text:
        record = {key: count, "examples": examples, "refused": found.refused}
        output.record("prune", record)
        return code
    names = ", ".join(map(run_in_words, examples))
    some = f": {names}{', ...' if count > len(examples) else ''}" if count else ""
    verb = "would delete" if key == "would_delete" else "deleted"
    output.data(f"{verb} {counted(count, 'run')}{some}")
    return code


COMMAND = Command(
    name="prune",
    summary=SUMMARIES["prune"],
    example="aiocheckpoint prune orders.db --older-than 30d --dry-run",
    configure=_configure,
    execute=_execute,
)
