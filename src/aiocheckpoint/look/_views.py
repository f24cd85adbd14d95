"""Views of runs and snapshots, made of headers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from aiocheckpoint._model.header import Header
from aiocheckpoint.look._records import RunView, SnapshotView, StepView

if TYPE_CHECKING:
    from aiocheckpoint.handlers._found_runs import FoundRun
    from aiocheckpoint.look._records import ProgressView

__all__ = ["run_view", "snapshot_view", "view_of", "with_progress"]


def run_view(
    header: Header,
    location: str,
    *,
    size: int,
    verified: bool | None,
    damage: str | None,
    began: float = 0.0,
) -> RunView:
    """Make the view of a run from its header.

    Args:
        header: The header, as lists or `header()` of a flow have it.
        location: Where the snapshot is, for messages.
        size: Bytes of the whole snapshot.
        verified: Whether its signature was checked and is right. None for an unsigned snapshot.
        damage: What is wrong with the snapshot, or None.
        began: When the attempt in progress began, or 0.0.
    """
    return RunView(
        location=location,
        status=header.status if damage is None else "damaged",
        damage=damage,
        step=header.next_step,
        step_count=header.step_names.count or None,
        steps=_step_views(header, began),
        tries=header.tries,
        stale=header.status == "running" and header.owner is None,
        size=size,
        verified=verified,
        **{name: getattr(header, name) for name in _SAME},
    )


_MADE = frozenset({"status", "steps"})
_SAME = {one.name for one in fields(RunView)} & {one.name for one in fields(Header)} - _MADE
"""The attributes that mean the same in both."""


def _step_views(header: Header, began: float) -> tuple[StepView, ...]:
    """Make the views of the steps whose names a header has."""
    names = header.step_names
    return tuple(
        _step_view(header, index, name, began)
        for index, name in enumerate(names.names, names.begin)
    )


def view_of(run: FoundRun) -> RunView:
    """Make the view of a run as a reader has found it, damaged or not."""
    if run.header is not None:
        # The names of the store: the snapshot of another run may be in this one's place.
        header = replace(run.header, run_id=run.run_id, flow=run.flow)
        return run_view(
            header,
            run.location,
            size=run.size,
            verified=run.verified,
            damage=run.reason,
            began=run.began,
        )
    return RunView(
        flow=run.flow,
        run_id=run.run_id,
        location=run.location,
        status="damaged",
        damage=run.reason,
        size=run.size,
    )


def with_progress(run: RunView, progress: ProgressView) -> RunView:
    """The view of a run with the progress of the step at which it stands."""
    steps = tuple(
        replace(step, done=progress.done, total=progress.total, note=progress.note)
        if (step.index, step.name) == (run.position, progress.step)
        else step
        for step in run.steps
    )
    return replace(run, progress=progress, steps=steps)


def snapshot_view(one: FoundRun) -> SnapshotView:
    """Make the view of a snapshot as a reader has found it, damaged or not."""
    header = one.header
    number, sequence = one.kept or (0, 0)
    return SnapshotView(
        number=number if header is None else header.number,
        sequence=sequence if header is None else header.sequence,
        position=0 if header is None else header.position,
        step=None if header is None else header.next_step,
        status=one.status,
        written_at=0.0 if header is None else header.written_at,
        size=one.size,
        newest=one.kept is None,
        damage=one.reason,
    )


def _step_view(header: Header, index: int, name: str, began: float) -> StepView:
    size, seconds = header.snapshots.get(name, (None, None))
    is_here = index == header.position and not header.finished
    is_done = header.finished or index < header.position
    return StepView(
        index=index,
        name=name,
        status=_status_here(header) if is_here else "done" if is_done else "waiting",
        seconds=header.durations.get(name),
        attempts=header.tries if is_here else header.attempts.get(name, int(is_done)),
        snapshot_bytes=size,
        snapshot_seconds=seconds,
        expected=header.expected.get(name),
        began=began if is_here else 0.0,
    )


def _status_here(header: Header) -> str:
    """The status of the step at which a run stands."""
    if header.status == "terminated":
        return "next" if header.failure is None else "failed"
    return header.status if header.status in _SHOWN_AT_STEP else "next"


_SHOWN_AT_STEP = frozenset({"running", "failed", "cancelled", "paused"})
