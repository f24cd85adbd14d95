"""A run in one line: where it stands, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.look import RunView

__all__ = ["name_of_run", "reason_of", "step_of"]


def name_of_run(run_id: str | None) -> str:
    """The id of a run. "-" for the run without one."""
    return "-" if run_id is None else run_id


def step_of(run: RunView) -> str:
    """The step at which a run stands, such as "3/4 charge". Empty for a finished run."""
    if run.step is None:
        return ""
    of = f"/{run.step_count}" if run.step_count else ""
    return f"{run.position + 1}{of} {run.step}"


def reason_of(run: RunView) -> str:
    """Why a run stands there: its owner, what it broke on, the reason of a pause. "" where none."""
    reasons: dict[str, str | None] = {
        "running": "its process is gone" if run.stale else run.owner,
        "paused": run.pause,
        "stopped": None if run.stopped_by is None else f"by {run.stopped_by}",
        "terminated": run.termination,
        "damaged": run.damage,
    }
    if run.status in {"failed", "cancelled"} and run.failure is not None:
        tries = f", {run.tries} tries" if run.tries > 1 else ""
        return f"{run.failure.type}{tries}"
    return reasons.get(run.status) or ""
