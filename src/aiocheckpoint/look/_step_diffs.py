"""What changed in each step of a run: each kept snapshot, compared with the one before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._snapshot.pickling.inert_values import DEFAULT
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.look._records import DiffView
from aiocheckpoint.look._snapshots import compared, state_of
from aiocheckpoint.look._views import snapshot_view

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.inert import Inert, InertBounds
    from aiocheckpoint.handlers._found_runs import FoundRun
    from aiocheckpoint.handlers._reader import StoreReader

__all__ = ["MOST_SNAPSHOTS", "diffs_of_steps"]

MOST_SNAPSHOTS = 20
_SECONDS = 5.0
"""So long it reads on to older snapshots. One that is very large takes as long as it takes."""
_BOUNDS = DEFAULT._replace(shown=200, shown_text=1_000)
"""Of one step. A `diff` of two snapshots shows more."""


class _Read(NamedTuple):
    found: FoundRun
    inert: Inert | None


def diffs_of_steps(reader: StoreReader, run: FoundRun, *, values: bool) -> tuple[DiffView, ...]:
    """Compare the newest snapshots of a run, each with the one before, in their order.

    Those of an earlier run in this place are left out, and what lies before the bounds. Nothing is
    raised for a store that cannot be read, as the run is shown all the same.

    Args:
        reader: The store.
        run: The run.
        values: Whether values are shown.
    """
    deadline, diffs, later = time.monotonic() + _SECONDS, list[DiffView](), None
    for one in _of_this_run(reader, run):
        bounds = _BOUNDS._replace(seconds=deadline - time.monotonic())
        if bounds.seconds <= 0:
            break
        read = _read(reader, one, bounds)
        if read is None:  # Deleted meanwhile, or the run has stored another.
            continue
        if later is not None:
            diffs.append(_diff(read, later, bounds, values=values))
        later = read
    return tuple(reversed(diffs))


def _of_this_run(reader: StoreReader, run: FoundRun) -> list[FoundRun]:
    """The newest snapshots of the present run number, the newest first. None if there is one."""
    header = run.header
    if header is None:
        return []
    try:
        found = reader.snapshots(run, MOST_SNAPSHOTS)[:MOST_SNAPSHOTS]
    except CheckpointError:
        return []
    mine = [one for one in found if one.kept is None or one.kept[0] == header.number]
    return mine if len(mine) > 1 else []


def _read(reader: StoreReader, one: FoundRun, bounds: InertBounds) -> _Read | None:
    try:
        state = state_of(reader, one, bounds)
    except CheckpointError as error:
        return _Read(one._replace(error=one.error or error), None)
    if state is None or (one.header is not None and state.sequence != one.header.sequence):
        return None
    return _Read(one, state.inert)


def _diff(old: _Read, new: _Read, bounds: InertBounds, *, values: bool) -> DiffView:
    """Compare two snapshots, or say that one cannot be read."""
    if old.inert is not None and new.inert is not None:
        states = (old.found, old.inert), (new.found, new.inert)
        return compared(*states, values=values, bounds=bounds)
    return DiffView(
        flow=new.found.flow,
        run_id=new.found.run_id,
        old=snapshot_view(old.found),
        new=snapshot_view(new.found),
        changes=(),
        same=(),
        complete=False,
        shown=values,
    )
