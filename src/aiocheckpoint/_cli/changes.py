"""Changes of stored runs by their headers alone, one call for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.many import Many
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.reports import Report
from aiocheckpoint._display.run_facts import run_in_question
from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    SeveralFlowsError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

    Change = Callable[[CheckpointFlow[Any], str | None], Awaitable[Outcome]]

__all__ = ["asked", "asked_about", "change_each", "is_trusted", "preview_each"]

_DAMAGES = (CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError)
_SIGNED = (
    "refused: it is signed by {key}. Name the secret by --secret-env or --secret-file, so that "
    "nobody changes or deletes what somebody else wrote"
)


def asked(context: Context, verb: str, run_ids: Sequence[str | None]) -> bool:
    """Ask whether a command is to go on, with the number of runs, their place and some of them.

    Raises:
        UsageProblem: Nobody can be asked, and `--yes` is missing.
    """
    return asked_about(context, verb, len(run_ids), run_ids[:MOST_EXAMPLES])


def asked_about(context: Context, verb: str, count: int, examples: Sequence[str | None]) -> bool:
    """Do as `asked` for so many runs, of which some are given as examples.

    Raises:
        UsageProblem: As `asked` has them, or a bare store is given without `--write`.
    """
    context.check_write()
    names = ", ".join(map(run_in_question, examples))
    more = ", ..." if count > len(examples) else ""
    question = f"{verb} {counted(count, 'run')} in {context.place}: {names}{more}?"
    return confirmed(context.output, question, count, yes=context.arguments.yes)


def change_each(context: Context, run_ids: Sequence[str | None], change: Change) -> int:
    """Change each run, report it, and give the exit code.

    A signed run of a bare store is refused without its secret: it would lose its signature.

    Args:
        context: The command.
        run_ids: The runs.
        change: Changes one, or refuses it, as most do for a damaged one.
    """
    flow = context.writable_flow()
    many = Many(context, flow)

    async def checked(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
        try:
            header = await flow.aheader(run_id)
        except _DAMAGES as error:
            if _is_distrusted(context, error):
                raise
            # Whoever damages a signed run is not to gain the right to delete it.
            signed_by = context.store().run(run_id, flow=context.flow_name).signed_by
        else:
            signed_by = None if header is None else header.signed_by
        if _lacks_secret(context, signed_by):
            return _without_secret(run_id, signed_by)
        return await change(flow, run_id)

    return many.work(lambda: many.each(run_ids, checked), of_one=len(run_ids) == 1)


def preview_each(
    context: Context, run_ids: Sequence[str | None], preview: Callable[[RunView], Outcome]
) -> int:
    """Say for each run what would be done, change nothing, and give the exit code."""
    report, store = Report(context.output), context.store()
    for run_id in run_ids:
        try:
            run = store.run(run_id, flow=context.flow_name)
        except SeveralFlowsError:
            raise
        except CheckpointError as error:
            report.add(Outcome.of_refusal(run_id, error))
            continue
        if _lacks_secret(context, run.signed_by):
            report.add(_without_secret(run_id, run.signed_by))
        elif run.library and not is_trusted(context, run):  # Its header could be read.
            words = f"refused: {run.damage}"
            report.add(Outcome(run_id, "refused", ExitCode.DAMAGED, words))
        else:
            report.add(preview(run))
    report.end(f"{report.sum} Nothing was done.")
    return report.code(of_one=len(run_ids) == 1)


def _lacks_secret(context: Context, signed_by: str | None) -> bool:
    """Whether a run of a bare store is signed, and no secret is given."""
    if signed_by is None or context.target.is_module:
        return False
    return context.secrets is None


def is_trusted(context: Context, run: RunView) -> bool:
    """Whether a run may be changed: of a bare store, it is unsigned or of the secrets given."""
    if context.target.is_module:
        return True
    return run.signed_by is None if context.secrets is None else run.verified is True


def _is_distrusted(context: Context, error: CheckpointError) -> bool:
    """Whether a run of a bare store is not signed by the secrets that are given."""
    return isinstance(error, UntrustedSnapshotError) and not context.target.is_module


def _without_secret(run_id: str | None, signed_by: str | None) -> Outcome:
    words = _SIGNED.format(key=(signed_by or "")[:8])
    return Outcome(run_id, "refused", ExitCode.USAGE, words)
