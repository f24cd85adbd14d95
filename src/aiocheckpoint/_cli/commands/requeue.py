"""`requeue`: stored runs are due now, by their headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.changes import change_each, preview_each
from aiocheckpoint._cli.chosen import chosen_filter, chosen_ids
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._display.run_facts import due_words
from aiocheckpoint._model.statuses import BROKEN
from aiocheckpoint._model.submission import refusal_to_requeue
from aiocheckpoint._runs.submitting import requeue_run
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    options.add_runs(parser, most=None)
    options.add_all(parser, "all stopped, failed and cancelled runs")
    options.add_filters(parser)
    options.add_dry_run(parser)
    options.add_reason(parser)
    options.add_write(parser)
    options.add_secret(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    where = chosen_filter(context, BROKEN)  # A terminated run was ended on purpose.
    run_ids = chosen_ids(context, where)
    if context.arguments.dry_run:
        return preview_each(context, run_ids, _preview)

    reason: str | None = context.arguments.reason

    async def change(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
        core = flow._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - filters are ours
        backend = await core.async_backend()
        header = await requeue_run(core, backend, run_id, reason, where or ALL)
        return Outcome(run_id, "requeued", words=f"due now, {header.status}")

    return change_each(context, run_ids, change)


def _preview(run: RunView) -> Outcome:
    if run.damage is not None:
        return Outcome(run.run_id, "refused", ExitCode.DAMAGED, f"refused: {run.damage}")
    refused = refusal_to_requeue(run.status, run.location)
    if refused is not None:
        return Outcome.of_refusal(run.run_id, refused)
    if run.owner is not None:
        words = f"refused: it is in progress, in {run.owner}"
        return Outcome(run.run_id, "refused", ExitCode.IN_PROGRESS, words)
    if due_words(run) == "due now":
        words = f"is due now already, {run.status}. Its starts would be counted anew"
    else:
        words = f"would be due now, {run.status}"
    return Outcome(run.run_id, "would be due", words=words)


COMMAND = Command(
    name="requeue",
    summary=SUMMARIES["requeue"],
    example="aiocheckpoint requeue orders.db --status failed --write",
    configure=_configure,
    execute=_execute,
)
