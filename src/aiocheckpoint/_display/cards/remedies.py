"""What to do with a run that did not finish, in words and as a line to execute."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.look import RunView

__all__ = ["Remedy", "remedy_of", "remedy_of_runs"]


_GO_ON = ("failed", "cancelled", "stopped")
"""Ends after which a run goes on without an answer."""


class Remedy(NamedTuple):
    """What to do.

    Attributes:
        words: The words, which end before the call.
        call: The call, in which the flow is named `cp`.
    """

    words: str
    call: str


def remedy_of(run: RunView) -> Remedy | None:
    """Say how a run goes on. None for one that is over, or needs nobody."""
    if run.damage is not None:
        return None
    where = "there" if run.step is None else f"at {run.step!r}"
    again = Remedy(f"Run again: it resumes {where}.", _resume(run))
    if run.status == "running":
        return Remedy(f"No process runs it. {again.words}", again.call) if run.stale else None
    remedies = {
        "failed": Remedy(f"Mend {_step(run)}, then run again: it resumes there.", _resume(run)),
        "cancelled": again,
        "stopped": again,
        "paused": Remedy("It waits for an answer, such as:", _resume(run, "update={...}")),
        "terminated": Remedy("It has ended for good. To run it nevertheless:", _run_from_here(run)),
    }
    return remedies.get(run.status)


def remedy_of_runs(ended: Mapping[str, int], *, begins_more: bool) -> Remedy | None:
    """Say how many runs go on whose call has ended. None where nothing is left to do.

    Args:
        ended: Number of ends by status.
        begins_more: Whether the call has not begun all runs that it was given.
    """
    if begins_more:
        return Remedy("The same call goes on, and repeats no finished run, with:", "once=True")
    unfinished = [repr(status) for status in _GO_ON if ended.get(status)]
    if not unfinished:
        return None
    status = unfinished[0] if len(unfinished) == 1 else f"({', '.join(unfinished)})"
    return Remedy("Those go on by:", f"list(cp.resume_all(status={status}))")


def _step(run: RunView) -> str:
    return "the step" if run.step is None else repr(run.step)


def _run_from_here(run: RunView) -> str:
    named = "" if run.run_id is None else f", run_id={run.run_id!r}"
    return f"cp.run(checkpoint={(run.step or run.position)!r}{named})"


def _resume(run: RunView, *words: str) -> str:
    if run.run_id is None:
        return f"cp.run({', '.join(words)})"
    return f"cp.resume({', '.join((repr(run.run_id), *words))})"
