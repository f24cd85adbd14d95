"""Which runs have changed since the last look at a store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._model.statuses import UNFINISHED
from aiocheckpoint.errors import RunNotFoundError
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.look._places import place_of
from aiocheckpoint.look._records import RunView, step_of
from aiocheckpoint.look._run_files import RunFiles
from aiocheckpoint.look._step_pace import StepPace
from aiocheckpoint.look._time_left import with_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.look._store import Store

__all__ = ["DELETED", "ChangedRun", "ChangedRuns"]

DELETED = "deleted"
"""The status of the view of a run that was there at the last look."""
MOST_UNFINISHED = 500
MOST_NEW = 50


class _Mark(NamedTuple):
    """What a view shows of a change."""

    status: str
    number: int
    sequence: int
    starts: int
    owner: str | None

    @classmethod
    def of(cls, run: RunView) -> _Mark:
        return cls(run.status, run.number, run.sequence, run.starts, run.owner)


class ChangedRun:
    """Looks whether one run has changed.

    Args:
        store: The store.
        run_id: The run, or None for the one without an id.
        flow: Name of the flow. It may be left out where one flow has the run.
    """

    def __init__(self, store: Store, run_id: str | None, flow: str | None) -> None:
        self._store, self._run_id, self._flow = store, run_id, flow
        self._mark: tuple[_Mark, float] | None = None
        self._attempt: tuple[int, ...] = ()
        self._pace: StepPace | None = None

    def look(self) -> RunView | None:
        """Give the run as it is now. None where it is as at the last look, its progress too.

        The times at which it ends are by all progress seen so far, and by other runs.

        Raises:
            RunNotFoundError: Nothing is stored of it.
            StorageError: The store cannot be read.
            SeveralFlowsError: No flow is named, and several have the run.
        """
        run = self._store.run(self._run_id, flow=self._flow)
        mark = _Mark.of(run), 0.0 if run.progress is None else run.progress.at
        changed, self._mark = mark != self._mark, mark
        return self._timed(run) if changed else None

    def _timed(self, run: RunView) -> RunView:
        """The run with the times at which it ends."""
        if run.status != "running":
            return run
        attempt = run.number, run.position, run.starts, run.tries
        if attempt != self._attempt:
            self._attempt = attempt
            step = step_of(run)
            began = 0.0 if step is None else step.began
            self._pace = StepPace(began, from_zero=bool(began))
        if self._pace is not None and run.progress is not None:
            self._pace.report(run.progress.done, run.progress.total, run.progress.at)
        return with_ends(run, time.time(), pace=self._pace)


class ChangedRuns:
    """Looks which runs of a flow have changed.

    The first look, and each look at a database, reads the unfinished runs, 500 at most, and the 50
    runs that began last. So the change of an older run is missed where it began and ended between
    two looks. Where each run has a file, a later look reads the changed ones.

    Args:
        store: The store.
        flow: Name of the flow, or None for the only one.
        where: Which runs. A run that is no longer among them is given once more.
    """

    def __init__(self, store: Store, flow: str | None, where: RunFilter) -> None:
        self._store, self._flow, self._where = store, flow, where
        chosen = UNFINISHED if where.statuses is None else where.statuses & UNFINISHED
        self._unfinished = where._replace(statuses=chosen)
        self._known: dict[str | None, _Mark] | None = None
        self._newest = 0.0
        place = place_of(store)
        has_files = place.kind in {"directory", "file"}
        self._files = RunFiles(place) if has_files and where == ALL else None

    def look(self) -> list[RunView]:
        """Give the runs that have changed since the last look, in the order of their changes.

        The first look gives the runs that are running. A run that was deleted has the status
        "deleted".

        Raises:
            StorageError: The store cannot be read.
            SeveralFlowsError: No flow is named, and the store has several.
        """
        known, ids = self._known, None if self._files is None else self._files.changed()
        if known is None or ids is None:
            seen = self._all_of(known or {})
            self._known = {run_id: _Mark.of(run) for run_id, run in seen.items()}
        else:
            running = {run_id for run_id, mark in known.items() if mark.status == "running"}
            seen = {run_id: self._looked_up(run_id) for run_id in ids | running}
            self._known = known | {run_id: _Mark.of(run) for run_id, run in seen.items()}
        changed = [run for run in seen.values() if self._is_changed(run, known)]
        self._newest = max([self._newest, *(run.written_at for run in seen.values())])
        return sorted(changed, key=lambda run: run.written_at)

    def _all_of(self, known: dict[str | None, _Mark]) -> dict[str | None, RunView]:
        """The listed runs, and those that were unfinished at the last look."""
        seen = {run.run_id: run for run in self._listed()}
        for run_id, mark in known.items():
            if run_id not in seen and mark.status not in {"finished", DELETED}:
                seen[run_id] = self._looked_up(run_id)
        return seen

    def _listed(self) -> Iterator[RunView]:
        listed = self._store.runs
        if self._unfinished.statuses:
            yield from listed(self._unfinished, flow=self._flow, limit=MOST_UNFINISHED)
        yield from listed(self._where, flow=self._flow, limit=MOST_NEW)

    def _looked_up(self, run_id: str | None) -> RunView:
        try:
            return self._store.run(run_id, flow=self._flow)
        except RunNotFoundError:
            return RunView(flow=self._flow or "", run_id=run_id, location="", status=DELETED)

    def _is_changed(self, run: RunView, known: dict[str | None, _Mark] | None) -> bool:
        if known is None:
            return run.status == "running"
        mark = known.get(run.run_id)
        if run.status == DELETED:
            return mark is not None and mark.status != DELETED
        if mark is None:  # New, or an older one in the place of one that was deleted.
            return run.status != "finished" or run.written_at > self._newest
        return mark != _Mark.of(run)
