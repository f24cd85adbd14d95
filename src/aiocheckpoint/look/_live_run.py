"""One run of this process as it goes, made of its events."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.current_step import Progress
from aiocheckpoint._model.failure_texts import CANCELLATIONS, beginnings_of_notes, failure_of
from aiocheckpoint._model.header import Header
from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    RunSubmitted,
    RunTerminated,
    SnapshotWritten,
    StepEvent,
    StepFailed,
    StepFinished,
    StepPaused,
    StepProgressed,
    StepStarted,
)
from aiocheckpoint.look._asked_run import AskedRun
from aiocheckpoint.look._live_step import LiveNames, LiveStep
from aiocheckpoint.look._time_left import run_left
from aiocheckpoint.look._views import run_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event
    from aiocheckpoint.look._asked_run import StepNow
    from aiocheckpoint.look._records import RunView, StepView

__all__ = ["LiveRun"]


class LiveRun:
    """A run of this process, from its events, or followed.

    It may hear from the midst of a run on. What happened before is then unknown. A run that is
    followed tells rare events alone. Where it is, it is asked for each view.

    Args:
        flow: Name of the flow.
        run_id: The run, or None for the one without an id. Events of other runs are passed over.
        location: Where its snapshot is, for messages.
    """

    def __init__(self, flow: str, run_id: str | None, location: str) -> None:
        self._flow, self._run_id, self._location = flow, run_id, location
        self._lock = RLock()
        self._header = Header(flow=flow, run_id=run_id, position=0)
        self._names = LiveNames()
        self._stop: int | None = None
        self._step: LiveStep | None = None
        self._asked: AskedRun | None = None
        self._step_before: StepNow | None = None
        self._finished: tuple[str, float] | None = None
        self._resumed: int | None = None
        self._size = 0
        self._expected: Mapping[str, float] = {}

    def take(self, event: Event) -> None:
        """Take an event, from any thread."""
        if (event.flow, event.run_id) != (self._flow, self._run_id):
            return
        with self._lock:
            self._catch_up()
            if isinstance(event, StepEvent):
                if self._stop is None:
                    self._names.add(event)
                self._take_of_step(event)
            else:
                self._take_of_run(event)

    def follow(self, run: RunFacts) -> None:
        """Follow a run that begins now."""
        if (run.flow, run.run_id) == (self._flow, self._run_id):
            with self._lock:
                self._asked = AskedRun(run)

    @property
    def place(self) -> tuple[object, ...]:
        """Where a run is that is followed. Another value where it is elsewhere."""
        return () if self._asked is None else self._asked.place

    @property
    def marks(self) -> tuple[object, ...]:
        """What is shown of a run that is followed. Another value where there is something new."""
        return () if self._asked is None else self._asked.marks

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Set how long the steps of other runs took, for a run whose header does not say it."""
        with self._lock:
            self._expected = dict(seconds)

    def ended(self, error: BaseException) -> None:
        """Note that the run has ended by an exception of which no event tells.

        So ends a run whose first snapshot cannot be stored. Nothing changes if an event has told.
        """
        with self._lock:
            self._catch_up()
            if self._header.status != "running":
                return
            is_cancelled = isinstance(error, CANCELLATIONS)
            step, now = self._names.at(self._header.position) or "", time.time()
            failure = failure_of(error, step=step, part="snapshot", at=now, seconds=0.0, attempt=1)
            self._change(status="cancelled" if is_cancelled else "failed", failure=failure)
            self._end_step()

    def view(self) -> RunView:
        """The run as it is now.

        What no event tells is as for a run of which nothing is known: owner, `starts`, `sequence`,
        `due` of a failed run, signature and sizes. An event tells of a failure more than the store,
        where the store has failed.
        """
        with self._lock:
            self._catch_up()
            header = self._whole_header()
            run = run_view(header, self._location, size=self._size, verified=None, damage=None)
            steps = tuple(self._shown(step) for step in run.steps)
        step = None if header.finished else run.step or self._names.at(header.position)
        whole = replace(run, steps=steps, stop=self._stop, stale=False, step=step)
        left = run_left(whole, now := time.time())
        return whole if left is None else replace(whole, ends_at=now + left)

    def _catch_up(self) -> None:
        """Ask a run that is followed where it is."""
        asked = self._asked
        if asked is None:
            return
        self._header = asked.newest_header(self._header)
        now, before = asked.step(), self._step_before
        if now is None:
            return
        self._note_attempt(now.name, now.attempt)
        if not now.is_same(before):
            self._step_before = now
            self._begin_step(now.position, now.attempt, now.began_at)
        if self._step is not None:
            self._step.take(now.progress)

    def _whole_header(self) -> Header:
        header = self._header
        names = self._names.recorded(header.position, is_finished=header.finished)
        expected = header.expected or self._expected
        return header.from_trusted({**header.apart().__dict__, **names, "expected": expected})

    def _shown(self, step: StepView) -> StepView:
        current = self._step
        if current is None or current.index != step.index or step.status == "done":
            return step
        return current.shown(step)

    def _change(self, **facts: Any) -> None:  # noqa: ANN401 - attributes of a header
        # Nobody else has this header. A copy for each event would show beside a fast step.
        self._header.__dict__.update(facts)

    def _take_of_step(self, event: StepEvent) -> None:
        match event:
            case StepStarted():
                self._take_step(event)
            case StepProgressed():
                self._take_progress(event)
            case StepFinished():
                # Only its snapshot makes it done: where that fails, the step runs again.
                self._finished = event.step, sum(event.seconds.values())
            case AttemptFailed():
                self._fail(event, status="running", position=event.index)
            case StepFailed():
                self._take_failed(event)
            case StepPaused():
                self._take_pause(event)
            case _:
                pass

    def _take_of_run(self, event: Event) -> None:
        match event:
            case SnapshotWritten():
                self._take_snapshot(event)
            case RunStarted():
                self._take_started(event)
            case RunFinished():
                self._take_finished(event)
            case RunTerminated():
                self._take_terminated(event)
            case RunSubmitted():
                self._take_submitted(event)
            case _:
                pass

    def _take_submitted(self, event: RunSubmitted) -> None:
        facts = {"status": "queued", "number": event.number, "due": event.due}
        self._change(**facts, actor=event.reason)

    def _take_started(self, event: RunStarted) -> None:
        plan = event.plan
        header = event.header or Header(flow=event.flow, run_id=event.run_id, position=plan.start)
        self._header = header.apart()
        self._change(number=event.number, status="running", position=plan.start)
        self._names, self._stop = LiveNames(plan.steps), plan.stop
        self._resumed = None if plan.fresh else plan.start
        self._step = self._finished = None
        self._size = 0

    def _take_step(self, event: StepStarted) -> None:
        self._note_attempt(event.step, event.attempt)
        self._change(number=event.number, status="running", position=event.index)
        self._begin_step(event.index, event.attempt, time.time())

    def _begin_step(self, index: int, attempt: int, began: float) -> None:
        from_zero = self._stop is not None and attempt == 1 and index != self._resumed
        self._step = LiveStep(index, attempt, began=began, from_zero=from_zero)

    def _take_progress(self, event: StepProgressed) -> None:
        step = self._step
        if step is not None and (step.index, step.attempt) == (event.index, event.attempt):
            step.report(Progress(event.done, event.total, event.note))

    def _take_snapshot(self, event: SnapshotWritten) -> None:
        finished, self._finished = self._finished, None
        header, self._size, self._step = self._header, event.bytes, None
        facts: dict[str, Any] = {"failure": None, "actor": None}
        if finished is not None:
            step, seconds = finished
            header.record_duration(step, seconds)
            header.record_snapshot(step, event.bytes, event.seconds)
            facts["pause"] = None
        was_at_end = header.position == self._names.count
        if event.position == 0 and (finished is not None or was_at_end):
            facts["status"] = "finished"
        self._change(position=event.position, written_at=time.time(), **facts)

    def _take_failed(self, event: StepFailed) -> None:
        header = self._header
        if header.finished:  # Cancelled behind the last snapshot.
            return
        is_done = event.part == "snapshot" and header.position == event.index + 1
        position = header.position if is_done else event.index
        self._fail(event, status="cancelled" if event.cancelled else "failed", position=position)

    def _fail(self, event: AttemptFailed | StepFailed, *, status: str, position: int) -> None:
        now = time.time()
        failure = failure_of(
            event.error,
            step=event.step,
            part=event.part,
            at=now,
            seconds=event.seconds,
            attempt=event.attempt,
            without_notes=beginnings_of_notes(event.step, event.index, event.of),
        )
        self._note_attempt(event.step, event.attempt)
        self._change(status=status, position=position, failure=failure, written_at=now)
        self._end_step()

    def _take_pause(self, event: StepPaused) -> None:
        facts = {"pause": event.reason, "pause_number": event.pause_number, "due": event.due}
        self._change(
            **facts, status="paused", position=event.index, failure=None, written_at=time.time()
        )
        self._end_step()

    def _take_terminated(self, event: RunTerminated) -> None:
        facts: dict[str, Any] = {"status": "terminated", "terminated_by": event.by}
        facts |= {"termination": event.reason, "number": event.number, "written_at": time.time()}
        if event.by == "step":
            facts["failure"] = None
        elif event.by == "hand":
            facts["actor"] = event.reason or None
        self._names.note(self._header.position, event.step)
        self._change(**facts)
        self._end_step()

    def _take_finished(self, event: RunFinished) -> None:
        facts: dict[str, Any] = {"status": event.status, "position": event.position}
        if event.status == "stopped":
            facts["stopped_by"] = "until" if event.position == self._stop else "drain"
        self._change(**facts)
        self._end_step()

    def _note_attempt(self, step: str, attempt: int) -> None:
        if attempt > 1:
            self._header.record_attempt(step, attempt)

    def _end_step(self) -> None:
        self._finished = None
        if self._step is not None:
            self._step.end()
