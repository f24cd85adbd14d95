"""Views of runs and snapshots, made of headers."""

from __future__ import annotations

from dataclasses import fields

from aiocheckpoint._model.header import Header
from aiocheckpoint.look._records import RunView, SnapshotView, StepView

__all__ = ["run_view", "snapshot_view", "step_views"]


def run_view(
    header: Header,
    location: str,
    *,
    size: int = 0,
    verified: bool | None = None,
    damage: str | None = None,
) -> RunView:
    """Make the view of a run from its header.

    Args:
        header: The header, as lists or `header()` of a flow have it.
        location: Where the snapshot is, for messages.
        size: Bytes of the whole snapshot. 0 where unknown.
        verified: Whether its signature was checked and is right. None for an unsigned snapshot.
        damage: What is wrong with the snapshot, or None.
    """
    return RunView(
        location=location,
        status=header.status if damage is None else "damaged",
        damage=damage,
        step=header.next_step,
        step_count=header.step_names.count or None,
        steps=step_views(header),
        tries=_tries(header),
        stale=header.status == "running" and header.owner is None,
        size=size,
        verified=verified,
        **{name: getattr(header, name) for name in _SAME},
    )


_MADE = frozenset({"status", "steps"})
_SAME = {one.name for one in fields(RunView)} & {one.name for one in fields(Header)} - _MADE
"""The attributes that mean the same in both."""


def step_views(header: Header) -> tuple[StepView, ...]:
    """Make the views of the steps whose names a header has."""
    names = header.step_names
    return tuple(
        _step_view(header, index, name) for index, name in enumerate(names.names, names.begin)
    )


def snapshot_view(header: Header, size: int, *, newest: bool) -> SnapshotView:
    """Make the view of a snapshot from its header.

    Args:
        header: The header as it is stored.
        size: Bytes of the whole snapshot.
        newest: Whether it is the newest of the run.
    """
    return SnapshotView(
        number=header.number,
        sequence=header.sequence,
        position=header.position,
        step=header.next_step,
        status=header.status,
        written_at=header.written_at,
        size=size,
        newest=newest,
    )


def _step_view(header: Header, index: int, name: str) -> StepView:
    size, seconds = header.snapshots.get(name, (None, None))
    is_here = index == header.position and not header.finished
    is_done = header.finished or index < header.position
    return StepView(
        index=index,
        name=name,
        status=_status_here(header) if is_here else "done" if is_done else "waiting",
        seconds=header.durations.get(name),
        attempts=_tries(header) if is_here else header.attempts.get(name, int(is_done)),
        snapshot_bytes=size,
        snapshot_seconds=seconds,
    )


def _status_here(header: Header) -> str:
    """The status of the step at which a run stands."""
    if header.status == "terminated":
        return "next" if header.failure is None else "failed"
    return header.status if header.status in _SHOWN_AT_STEP else "next"


_SHOWN_AT_STEP = frozenset({"running", "failed", "cancelled", "paused"})


def _tries(header: Header) -> int:
    if header.finished or header.status == "queued":
        return 0
    here = header.next_step
    failed = header.failure.attempt if header.failure and header.failure.step == here else 0
    return max(failed, header.attempts.get(here or "", 0), int(header.status == "running"))
