"""Runs of this process as they go, made of their events: one in full, or many counted."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar

from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    RunTerminated,
    SnapshotWritten,
    StepEvent,
    StepFailed,
    StepFinished,
    StepProgressed,
    StepStarted,
)
from aiocheckpoint.look._asked_run import step_now
from aiocheckpoint.look._live_run import LiveRun
from aiocheckpoint.look._records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event
    from aiocheckpoint.look._asked_run import StepNow

    _Key = tuple[str, str | None]

__all__ = ["LiveCounts", "LiveRun", "LiveRuns", "SlowStep"]

_RATE_SECONDS = 10
"""The rate is that of so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStep(Record):
    """A step in progress of one of many runs.

    Attributes:
        flow, run_id: Its run.
        step: Its name.
        index, of: Its index, and the number of steps.
        began: When its attempt began.
        done, total, note: The progress that it has reported, or None.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"began"})

    flow: str
    run_id: str | None
    step: str
    index: int
    of: int
    began: float
    done: float | None = None
    total: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCounts(Record):
    """How many runs this process carries out, and how they have ended.

    Attributes:
        running: The number of runs in progress.
        ended: Number of ends by status: "finished", "failed", "cancelled", "paused", "stopped" and
            "terminated". A run that goes on and ends once more counts twice.
        rate: Ends in a second, over the last 10 s, or since the first start.
        slowest: The step in progress that began first, or None.
    """

    running: int
    ended: Mapping[str, int] = field(default_factory=dict[str, int])
    rate: float = 0.0
    slowest: SlowStep | None = None

    def seconds_left(self, total: int | None) -> float | None:
        """Seconds until the last run ends, at the present rate. None where that is unknown.

        Args:
            total: The number of all runs, or None where it is unknown.
        """
        if total is None or self.rate <= 0:
            return None
        left = total - sum(self.ended.values())
        return left / self.rate if left > 0 else None


class LiveRuns:
    """Counts the runs of this process, from their events.

    Those that are followed tell rare events alone. They are asked for their steps.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._running: set[_Key] = set()
        self._steps: dict[_Key, tuple[StepStarted, float]] = {}  # in the order of their beginning
        self._reports: dict[_Key, StepProgressed] = {}
        self._at_end: dict[_Key, bool] = {}  # behind the last step; whether that is stored
        self._followed: dict[_Key, RunFacts] = {}
        self._counts: Counter[str] = Counter()
        self._rate = _Rate()

    def take(self, event: Event) -> None:
        """Take an event, from any thread."""
        key = event.flow, event.run_id
        with self._lock:
            if isinstance(event, StepEvent):
                self._take_of_step(key, event)
            else:
                self._take_of_run(key, event)

    def _take_of_step(self, key: _Key, event: StepEvent) -> None:
        match event:
            case StepProgressed():
                if key in self._steps:
                    self._reports[key] = event
            case StepStarted():
                self._begin(key)
                self._leave_step(key)
                self._steps[key] = event, time.time()
            case StepFinished():
                self._leave_step(key)
                if event.index == event.of - 1:
                    self._at_end[key] = False
            case AttemptFailed():
                self._leave_step(key)
            case StepFailed():
                # A run that is cancelled behind its last snapshot is stored as finished.
                is_stored = event.cancelled and self._is_finished(key)
                status = "cancelled" if event.cancelled else "failed"
                self._end(key, "finished" if is_stored else status)
            case _:
                pass

    def _take_of_run(self, key: _Key, event: Event) -> None:
        match event:
            case SnapshotWritten():
                if key in self._at_end:
                    self._at_end[key] = event.position == 0
            case RunStarted():
                self._begin(key)
            case RunFinished():
                self._end(key, event.status)
            case RunTerminated():
                self._end(key, "terminated")
            case _:
                pass

    def follow(self, run: RunFacts) -> None:
        """Follow a run that begins now."""
        with self._lock:
            self._followed[run.flow, run.run_id] = run

    def end_all(self, status: str) -> None:
        """Note the end of the runs of which no event has told one.

        So ends a run whose first snapshot cannot be stored.

        Args:
            status: "failed" or "cancelled".
        """
        with self._lock:
            for key in [*self._running]:
                self._end(key, status)

    def counts(self) -> LiveCounts:
        """The counts as they are now."""
        with self._lock:
            return LiveCounts(
                running=len(self._running),
                ended=dict(self._counts),
                rate=self._rate.at(time.monotonic()),
                slowest=self._slowest(),
            )

    def _begin(self, key: _Key) -> None:
        self._running.add(key)
        self._at_end.pop(key, None)
        self._rate.begin(time.monotonic())

    def _is_finished(self, key: _Key) -> bool:
        """Whether the last snapshot of a run is stored."""
        run = self._followed.get(key)
        stored = None if run is None else run.stored
        return self._at_end.get(key, False) or (stored is not None and stored.finished)

    def _leave_step(self, key: _Key) -> None:
        self._steps.pop(key, None)
        self._reports.pop(key, None)

    def _end(self, key: _Key, status: str) -> None:
        self._leave_step(key)
        self._followed.pop(key, None)
        self._running.discard(key)
        self._at_end.pop(key, None)
        self._counts[status] += 1
        self._rate.add(time.monotonic())

    def _slowest(self) -> SlowStep | None:
        asked = [(run, now) for run in self._followed.values() if (now := step_now(run))]
        if asked:
            return _slow_step(*min(asked, key=_began))
        for key, (started, began) in self._steps.items():
            report = self._reports.get(key)
            return SlowStep(
                flow=started.flow,
                run_id=started.run_id,
                step=started.step,
                index=started.index,
                of=started.of,
                began=began,
                done=None if report is None else report.done,
                total=None if report is None else report.total,
                note=None if report is None else report.note,
            )
        return None


def _began(asked: tuple[RunFacts, StepNow]) -> float:
    return asked[1].began


def _slow_step(run: RunFacts, now: StepNow) -> SlowStep:
    facts: dict[str, Any] = {} if now.progress is None else now.progress._asdict()
    return SlowStep(
        flow=run.flow,
        run_id=run.run_id,
        step=now.name,
        index=now.position,
        of=now.of,
        began=now.began_at,
        **facts,
    )


class _Rate:
    """Counts in a second, over the last seconds. Times are of `time.monotonic`."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._counts: deque[tuple[int, int]] = deque(maxlen=_RATE_SECONDS)  # second and count

    def begin(self, now: float) -> None:
        if self._began is None:
            self._began = now

    def add(self, now: float) -> None:
        self.begin(now)
        second, count = int(now), 0
        if self._counts and self._counts[-1][0] == second:
            count = self._counts.pop()[1]
        self._counts.append((second, count + 1))

    def at(self, now: float) -> float:
        if self._began is None:
            return 0.0
        begin = int(now) - _RATE_SECONDS + 1
        counted = sum(count for second, count in self._counts if second >= begin)
        return counted / max(1.0, now - max(self._began, begin))
