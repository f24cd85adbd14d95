"""`terminate`: runs are ended for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.changes import asked, change_each
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.waits import add_wait

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser)
    options.add_runs(parser, most=None)
    options.add_reason(parser)
    add_wait(
        parser,
        "for the end of a run in progress, with code 4 if it does not come. Without it the run is "
        "asked to end, with code 0",
    )
    options.add_yes(parser)
    options.add_write(parser)
    options.add_secret(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    run_ids = [*dict.fromkeys(context.run_ids())]
    if not asked(context, "Terminate", run_ids):
        return ExitCode.FAILED
    reason: str = context.arguments.reason or ""
    wait: float = context.arguments.wait

    async def change(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
        header = await flow.aterminate(run_id, reason, wait=wait)
        if header is not None:
            return Outcome(run_id, header.status, words=Outcome.of_header(header).words)
        words = "asked to end, and still in progress"
        return Outcome(run_id, "asked", ExitCode.IN_PROGRESS if wait else ExitCode.DONE, words)

    return change_each(context, run_ids, change)


COMMAND = Command(
    name="terminate",
    summary=SUMMARIES["terminate"],
    example='aiocheckpoint terminate service:cp order-42 --reason "cancelled by Ann" --yes',
    configure=_configure,
    execute=_execute,
)
