"""Facts of a run in a few words, as lists and cards say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.times import clock

if TYPE_CHECKING:
    from aiocheckpoint.look import RunView

__all__ = ["note_of", "place_of_run", "run_in_question", "run_in_words", "run_name", "signature_of"]


def run_name(run: RunView) -> str:
    """Name a run, also the one without an id. A dash would be the id "-"."""
    return "(no id)" if run.run_id is None else run.run_id


def run_in_words(run_id: str | None) -> str:
    """Name a run in a sentence or a line of outcomes. The one without an id has words."""
    return "(the run without an id)" if run_id is None else run_id


def run_in_question(run_id: str | None) -> str:
    """Name a run in a question: in quotes, so that no id reads like two, or like other words."""
    return run_in_words(None) if run_id is None else repr(run_id)


def place_of_run(run: RunView) -> str:
    """Say at which step a run stands, such as "3/4 charge". "" where it is at none."""
    if run.step is None:
        return ""
    return f"{run.position + 1}/{run.step_count or '?'} {run.step}"


def note_of(run: RunView) -> str:
    """Say what else there is to know of a run, such as its owner or the reason of a pause."""
    if run.damage is not None:
        return run.damage
    notes = {
        "running": run.owner or "its process is gone",
        "paused": run.pause or "",
        "stopped": f"by {run.stopped_by}" if run.stopped_by else "",
        "terminated": f"by {run.terminated_by}: {run.termination}",
        "queued": f"due {clock(run.due)}" if run.due else "due now",
    }
    return notes.get(run.status, "")


def signature_of(run: RunView) -> str:
    """Say who signed a run, and whether that was checked. "" where nobody did."""
    if run.signed_by is None:
        return ""
    checked = "verified" if run.verified else "not verified: no secret given"
    return f"signed by {run.signed_by[:8]} ({checked})"
