"""Facts of a run in a few words, as lists and cards say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.times import due_shown
from aiocheckpoint._model.due import due_at
from aiocheckpoint._texts import harmless, type_shown

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.look import RunView

__all__ = [
    "due_words",
    "gone_words",
    "note_of",
    "place_of_run",
    "reason_of",
    "run_in_question",
    "run_in_words",
    "run_name",
    "run_shown",
    "signature_of",
    "standing_at",
    "standing_at_step",
    "step_shown",
    "stopped_words",
    "why",
]


_GONE = "no process runs it"
_STOPPED_BY = {
    "until": "the argument until=",
    "drain": "a drain",
    "patch": "a patch",
    "requeue": "a requeue",
}


def run_name(run: RunView) -> str:
    """Name a run, also the one without an id. A dash would be the id "-"."""
    return "(no id)" if run.run_id is None else run.run_id


def run_in_words(run_id: str | None) -> str:
    """Name a run in a sentence or a line of outcomes. The one without an id has words."""
    return "(the run without an id)" if run_id is None else run_id


def run_in_question(run_id: str | None) -> str:
    """Name a run in a question: in quotes, so that no id reads like two, or like other words."""
    return run_in_words(None) if run_id is None else repr(run_id)


def run_shown(flow: str, run_id: str | None) -> str:
    """Name a run as the log does, such as "orders[order-42]"."""
    return harmless(flow) if run_id is None else f"{harmless(flow)}[{harmless(run_id)}]"


def step_shown(index: int, count: int | None, name: str) -> str:
    """Name a step with its number, such as "3/4 charge", or "3/? charge" of an unknown number."""
    return f"{index + 1}/{count or '?'} {harmless(name)}"


def place_of_run(run: RunView) -> str:
    """Say at which step a run stands, such as "3/4 charge". "" where it is at none."""
    return "" if run.step is None else step_shown(run.position, run.step_count, run.step)


def standing_at(run: RunView) -> str:
    """Say it in a title, such as "at 3 of 4, charge". "" where it is at none."""
    if run.step is None:
        return ""
    return f"at {run.position + 1:,} of {run.step_count or '?'}, {run.step}"


def standing_at_step(run: RunView) -> str:
    """Say it in a sentence, such as "at step 3 of 4, 'charge'". "" where it is at none."""
    if run.step is None:
        return ""
    return f"at step {run.position + 1} of {run.step_count or '?'}, {run.step!r}"


def note_of(run: RunView) -> str:
    """Say what else there is to know of a run, such as its owner or the reason of a pause."""
    if run.damage is not None:
        return run.damage
    return ", ".join(filter(None, (reason_of(run), due_words(run))))


def reason_of(run: RunView) -> str:
    """Say why a run stands as it does, such as its owner or the reason of a pause."""
    reasons = {
        "running": _GONE if run.stale else run.owner or "",
        "paused": run.pause or "",
        "stopped": f"by {run.stopped_by}" if run.stopped_by else "",
        "terminated": ": ".join(
            filter(None, (run.terminated_by and f"by {run.terminated_by}", run.termination))
        ),
    }
    return reasons.get(run.status, "")


def gone_words(header: Header) -> str:
    """Say that the process of a running run is gone. "" for others, and for an older snapshot.

    Headers of older snapshots know neither owners nor starts.
    """
    is_gone = header.status == "running" and header.owner is None and header.starts > 0
    return _GONE if is_gone else ""


def stopped_words(run: RunView) -> str:
    """Say in a sentence what stopped a run, such as "by a drain". "" where that is unknown."""
    by = run.stopped_by
    return f"by {_STOPPED_BY.get(by, by)}" if by else ""


def why(run: RunView) -> str:
    """Say why a run stands as it does: by the type of its failure, or as `reason_of` does."""
    if run.failure is not None and run.status in {"failed", "cancelled"}:
        return type_shown(run.failure.type)
    return reason_of(run)


def due_words(run: RunView) -> str:
    """Say when workers take a run, such as "due now" or "due in 40 s".

    It is "" where a living process has the run, or workers do not take it by themselves.
    """
    due = None if run.owner is not None else due_at(run)
    return "" if due is None else due_shown(due)


def signature_of(run: RunView) -> str:
    """Say who signed a run, and whether that was checked. "" where nobody did."""
    if run.signed_by is None:
        return ""
    checked = "verified" if run.verified else "not verified: no secret given"
    return f"signed by {run.signed_by[:8]} ({checked})"
