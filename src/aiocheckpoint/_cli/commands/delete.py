"""`delete`: runs are forgotten, damaged or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.changes import asked, change_each, preview_each
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    options.add_runs(parser, most=None)
    options.add_dry_run(parser)
    options.add_yes(parser)
    options.add_write(parser)
    options.add_secret(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    run_ids = [*dict.fromkeys(context.run_ids())]
    if context.arguments.dry_run:
        return preview_each(context, run_ids, _preview)
    if not asked(context, "Delete", run_ids):
        return ExitCode.FAILED
    return change_each(context, run_ids, _deleted)


def _preview(run: RunView) -> Outcome:
    return Outcome(run.run_id, "would be deleted", words=f"would be deleted, {run.status}")


async def _deleted(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
    if run_id is None:
        await flow.areset()
    if run_id is None or await flow.adelete(run_id):
        return Outcome(run_id, "deleted")
    return Outcome(run_id, "refused", ExitCode.NOT_FOUND, "refused: no such run is stored")


COMMAND = Command(
    name="delete",
    summary=SUMMARIES["delete"],
    example="aiocheckpoint delete orders.db order-42 --write --yes",
    configure=_configure,
    execute=_execute,
)
