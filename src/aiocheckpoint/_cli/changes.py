"""Changes of stored runs by their headers alone, one call for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.many import Many
from aiocheckpoint._cli.outcomes import Outcome, run_name
from aiocheckpoint._cli.reports import Report
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    SeveralFlowsError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiocheckpoint import CheckpointFlow, Header
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

    Change = Callable[[CheckpointFlow[Any], str | None], Awaitable[Outcome]]

__all__ = ["EXAMPLES", "asked", "asked_about", "change_each", "preview_each"]

EXAMPLES = 3
_DAMAGES = (CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError)
_SIGNED = (
    "refused: it is signed by {key}, and would be stored without a signature, which its flow "
    "refuses. Name the secret by --secret-env or --secret-file"
)


def asked(context: Context, verb: str, run_ids: Sequence[str | None]) -> bool:
    """Ask whether a command is to go on, with the number of runs, their place and some of them.

    Raises:
        UsageProblem: Nobody can be asked, and `--yes` is missing.
    """
    return asked_about(context, verb, len(run_ids), run_ids[:EXAMPLES])


def asked_about(context: Context, verb: str, count: int, examples: Sequence[str | None]) -> bool:
    """Do as `asked` for so many runs, of which some are given as examples."""
    runs = "1 run" if count == 1 else f"{count:,} runs"
    names = ", ".join(map(run_name, examples))
    more = ", ..." if count > len(examples) else ""
    question = f"{verb} {runs} in {context.target}: {names}{more}?"
    return confirmed(context.output, question, count, yes=context.arguments.yes)


def change_each(
    context: Context,
    run_ids: Sequence[str | None],
    change: Change,
    *,
    takes_damaged: bool = False,
) -> int:
    """Change each run, report it, and give the exit code.

    A signed run of a bare store is refused without its secret: it would lose its signature.

    Args:
        context: The command.
        run_ids: The runs.
        change: Changes one.
        takes_damaged: Whether it changes damaged runs too.
    """
    flow = context.writable_flow()
    many = Many(context, flow)

    async def checked(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
        try:
            header = await flow.aheader(run_id)
        except _DAMAGES:
            if not takes_damaged:
                raise
        else:
            if header is not None and _lacks_secret(context, flow, header):
                return _without_secret(header)
        return await change(flow, run_id)

    return many.work(lambda: many.each(run_ids, checked), of_one=len(run_ids) == 1)


def preview_each(
    context: Context, run_ids: Sequence[str | None], preview: Callable[[RunView], Outcome]
) -> int:
    """Say for each run what would be done, change nothing, and give the exit code."""
    report, store = Report(context.output), context.store()
    for run_id in run_ids:
        try:
            outcome = preview(store.run(run_id, flow=context.flow_name))
        except SeveralFlowsError:
            raise
        except CheckpointError as error:
            outcome = Outcome.of_refusal(run_id, error)
        report.add(outcome)
    report.end(f"{report.sum} Nothing was done.")
    return report.code(of_one=len(run_ids) == 1)


def _lacks_secret(context: Context, flow: CheckpointFlow[Any], header: Header) -> bool:
    """Whether a run of a bare store is signed, and the secret is not given."""
    return (
        header.signed_by is not None and not context.target.is_module and not flow.handler.key_ids
    )


def _without_secret(header: Header) -> Outcome:
    words = _SIGNED.format(key=(header.signed_by or "")[:8])
    return Outcome(header.run_id, "refused", ExitCode.USAGE, words)
