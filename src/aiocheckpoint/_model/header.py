"""The header of a snapshot, readable without unpickling: run, time, progress, failure."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar

from aiocheckpoint._model.shown import Shown
from aiocheckpoint._model.step_names import (
    MOST_NAMES,
    MOST_OF_LARGE,
    NO_STEP_NAMES,
    ListedStepNames,
    RecordedStepNames,
    StepNames,
    StepNamesExcerpt,
)

__all__ = ["Failure", "Header", "Status"]

Status = Literal[
    "queued", "running", "stopped", "paused", "failed", "cancelled", "terminated", "finished"
]
"""The state of a run. "queued" where it was stored and has not begun. "running" also where its
process was killed. "stopped" by `until=`, by draining or by hand, see `Header.stopped_by`. "paused"
by a step. "terminated" where it was ended for good, see `Header.terminated_by`."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The exception that ended a run or an attempt, as text.

    Attributes:
        step: Name of the step that raised it.
        part: "limiter", "load", "step", "save" or "snapshot". "snapshot" also for a run that was
            cancelled in a step which is done.
        type: Qualified name of the exception's class.
        message: `str()` of the exception.
        traceback: The formatted traceback.
        at: Seconds since the epoch.
        seconds: How long the step had been running.
        attempt: Number of the attempt of this run at the step, from 1. Attempts whose process was
            killed are not counted.
    """

    step: str
    part: str
    type: str
    message: str
    traceback: str
    at: float
    seconds: float
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Header(Shown):
    """The readable part of a snapshot.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None for the only run of a flow.
        number: Counts the runs that began anew under this id, from 1. 0 where unknown.
        sequence: Counts the snapshots written of this run id, from 1. 0 where unknown.
        version: Version of the flow that stored it, as `CheckpointFlow(version=...)` has it. 0 for
            a flow without one.
        steps: Names of the flow's steps. None for a file of gumly, for a handler of dicts, and for
            flows of more than 100 steps.
        excerpt: The record of the step names of a flow of more than 100 steps, else None.
        position: Index of the step at which the next run starts.
        status: The state of the run.
        failure: What ended the run, or None. For a running run, the failure of the attempt before.
        pause: The reason that a step gave for pausing the run, until an answer is stored or the run
            is past that step. A run that goes on without an answer has it too. Else None.
        pause_number: Counts the pauses under this id, from 1 again once the run was deleted. Where
            `pause` is given, the number of that pause, which `answers=` of `run` names. A step that
            pauses again with nothing answered keeps the number.
        stopped_by: What stopped a stopped run: "drain", "until" (the argument of `run`), or "patch"
            (by hand: `patch` or the handler's `write`). None for any other status, and where a
            release before 0.6 stopped it. A later release may know further words.
        due: Seconds since the epoch before which recovery leaves the run alone. None for a paused
            run means that recovery never takes it, and for a queued, failed or cancelled one that
            it is due at once. Other statuses have none.
        terminated_by: What ended a terminated run for good: "step" (it raised `Terminate`), "hand"
            (`aterminate`), or "starts" (too many at one step). None for any other status. A later
            release may know further words.
        termination: Why the run was terminated, as plain text. None for any other status.
        actor: Who changed the stored run by hand, or why, as plain text: the `reason=` of the last
            `requeue`, `patch` or `terminate`. None where none was given, and from the first
            snapshot on that is stored when the run goes on. It may hold any character, so show it
            escaped.
        trace: A short text that names the last execution of the run to tracing tools, such as a W3C
            traceparent, or None. See `aiocheckpoint.events.RunStarted.set_trace`.
        attempts: Number of attempts by step name, for steps of this run with more than one
            attempt. For a flow of more than 100 steps, the newest 20 entries.
        initial_digest: Digest of the state that the run began with, or None where unknown. Given
            states are compared with it. It holds no value, but a state that is easily guessed can
            be found by trying, unless the flow has a secret. It is not part of `repr`.
        step_digests: Digests of the code of this run's steps, by step name. Those behind the
            position have not run. For a flow of more than 100 steps, the newest 20 entries.
        durations: Seconds by step name, for the finished steps of this run: loader, step and saver
            together. For a flow of more than 100 steps, the newest 20 entries.
        expected: Seconds by step name of the last run that finished here, to the millisecond, for
            an estimate of the time left. Empty where none has, or where it took less than 0.1 s.
        snapshots: Bytes and seconds of the snapshot behind a step, by step name, the newest 20
            entries. The time is not part of `durations`. A snapshot cannot hold its own, so the
            last one is missing. While a run is running, empty where the last one took less than a
            millisecond.
        holds_data: Whether the payload holds `data` beside the state, as `keep_data=True` has it.
        code: Whether the payload holds functions or classes by value.
        python: Version of the Python that wrote the payload, "" where unknown.
        dill: Version of dill that wrote it, "" where unknown.
        library: Version of aiocheckpoint that wrote it, "" where unknown.
        written_at: Seconds since the epoch.
        started_at: When the run began at its first step, in seconds since the epoch, or was queued.
            0.0 where unknown.
        signed_by: Id of the secret that the snapshot is signed with, 16 hexadecimal digits, or
            None. The id is stored beside the header. Only a reader with a secret verifies it.
        sizes: Bytes of the state's stored values by key. A value that several keys share counts for
            the first key. Only `aiocheckpoint.inspect` sets it. None elsewhere.
        owner: The living process that has claimed the run, such as "process 12 on web-1", or None.
            A run that is "running" and has no owner was killed, or its process ended without
            recording it. An owner on another machine may have died within its lease. Only lists
            and `header` set it, and no comparison of headers counts it.
        starts: How often the unfinished run was started at the step where it stands: claims by a
            process, the present one included. Attempts within a start do not count, nor do starts
            whose process drained when it ended. A pause, `until=`, a patch, a requeue or the
            termination ends the count. Set and compared as `owner` is. 0 where unknown.
        killed: How many of these starts ended because the process was killed.
    """

    flow: str
    position: int
    run_id: str | None = None
    number: int = 0
    sequence: int = 0
    version: int = 0
    steps: tuple[str, ...] | None = None
    excerpt: StepNamesExcerpt | None = None
    status: Status = "running"
    failure: Failure | None = None
    pause: str | None = None
    pause_number: int = 0
    stopped_by: str | None = None
    due: float | None = None
    terminated_by: str | None = None
    termination: str | None = None
    actor: str | None = None
    trace: str | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    initial_digest: str | None = field(default=None, repr=False)
    step_digests: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    durations: dict[str, float] = field(default_factory=dict[str, float])
    expected: dict[str, float] = field(default_factory=dict[str, float])
    snapshots: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    holds_data: bool = False
    code: bool = False
    python: str = ""
    dill: str = ""
    library: str = ""
    written_at: float = 0.0
    started_at: float = 0.0
    signed_by: str | None = None
    sizes: Mapping[str, int] | None = None
    owner: str | None = field(default=None, compare=False)
    starts: int = field(default=0, compare=False)
    killed: int = field(default=0, compare=False)

    @classmethod
    def from_trusted(cls, attributes: dict[str, Any]) -> Self:
        """A header with all attributes given and none checked, in a third of the usual time."""
        header = object.__new__(cls)
        object.__setattr__(header, "__dict__", attributes)
        return header

    @classmethod
    def without_names(cls, flow: str, run_id: str | None, position: int) -> Self:
        """The header of a state that came without one: only the position is known."""
        status: Status = "stopped" if position else "finished"
        return cls(flow=flow, run_id=run_id, position=position, status=status)

    def apart(self) -> Self:
        """The same header, whose entries the run does not change on its way."""
        attributes = self.__dict__.copy()
        for name in _ENTRIES:
            attributes[name] = attributes[name].copy()
        return self.from_trusted(attributes)

    @property
    def finished(self) -> bool:
        """Whether the next run begins at the first step with a state of its own."""
        return self.status == "finished"

    @property
    def step_names(self) -> RecordedStepNames:
        """The record of the step names, in the form that the header has."""
        if self.excerpt is not None:
            return self.excerpt
        return NO_STEP_NAMES if self.steps is None else ListedStepNames(self.steps)

    @property
    def next_step(self) -> str | None:
        """Name of the step at the position. None for a finished run, or where it is unknown."""
        return None if self.finished else self.step_names.at(self.position)

    @property
    def tries(self) -> int:
        """Number of attempts of this run at the step where it stands, as far as it is recorded.

        A running attempt is recorded when it ends, or as the first one. Attempts whose process was
        killed are not counted. 0 where none has begun, as of a run that is queued or finished.
        """
        if self.finished or self.status == "queued":
            return 0
        step, broken = self.next_step, self.failure
        is_here = broken is not None and step in {None, broken.step}
        failed = broken.attempt if broken is not None and is_here else 0
        has_begun = self.status in {"running", "paused"} or self.terminated_by == "step"
        return max(failed, self.attempts.get(step or "", 0), int(has_begun))

    def is_at(self, names: StepNames, index: int) -> bool:
        """Whether the state is the one on entry to that step of a flow."""
        return not self.finished and self.step_names.is_at(self.position, names, index)

    def matches(self, names: StepNames) -> bool:
        """Whether all steps of a flow have the names of this run, as far as these are known."""
        return self.step_names.matches(names)

    def matches_prefix(self, names: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow have the names of this run."""
        return self.step_names.matches_prefix(names, first)

    def record_attempt(self, step: str, number: int) -> None:
        """Note the number of the attempt at a step, as the newest entry."""
        most = MOST_NAMES if self.excerpt is None else self.excerpt.max_recorded
        _record(self.attempts, step, number, most)

    def record_duration(self, step: str, seconds: float) -> None:
        """Note the duration of a step to the microsecond, as the newest entry."""
        most = MOST_NAMES if self.excerpt is None else self.excerpt.max_recorded
        _record(self.durations, step, round(seconds * 1e6) / 1e6, most)

    def record_code(self, step: str, digest: str) -> None:
        """Note the digest of the code of a step of a flow of more than 100 steps."""
        _record(self.step_digests, step, digest, MOST_OF_LARGE)

    def record_snapshot(self, step: str, size: int, seconds: float) -> None:
        """Note the size of a step's snapshot, and the time that it took, as the newest entry."""
        snapshots = self.snapshots
        if step in snapshots or len(snapshots) == MOST_OF_LARGE:
            _record(snapshots, step, (size, seconds), MOST_OF_LARGE)
        else:  # Inlined at every step: a call would take as long again.
            snapshots[step] = size, seconds

    def ended(
        self,
        status: Status,
        *,
        at: float,
        failure: Failure | None = None,
        pause: str | None = None,
        stopped_by: str | None = None,
        due: float | None = None,
        terminated_by: str | None = None,
        termination: str | None = None,
        actor: str | None = None,
    ) -> Self:
        """The header of the same snapshot with another outcome of the run, or of an attempt.

        A pause that is not answered stays so, and the next one at the step has its number.
        """
        counts = status == "paused" and self.pause is None
        return replace(
            self,
            status=status,
            failure=failure,
            pause=self.pause if pause is None else pause,
            pause_number=self.pause_number + counts,
            stopped_by=stopped_by,
            due=due,
            terminated_by=terminated_by,
            termination=termination,
            actor=actor,
            sequence=self.sequence + 1,
            written_at=at,
        )

    def terminated(self, *, by: str, reason: str, at: float) -> Self:
        """The header of the same snapshot for a run that has ended for good.

        What it broke on stays recorded, unless its step ended it: that attempt has not failed.

        Args:
            by: "step", "hand" or "starts".
            reason: The reason.
            at: The time in seconds since the epoch.
        """
        failure = None if by == "step" else self.failure
        actor = reason or None if by == "hand" else None
        ended = self.ended("terminated", at=at, failure=failure, actor=actor)
        return replace(ended, terminated_by=by, termination=reason)

    def next(
        self, status: Status, position: int, written_at: float, excerpt: StepNamesExcerpt | None
    ) -> Self:
        """The header of the next snapshot. Every step makes one, hence the short cut."""
        attributes = self.__dict__.copy()
        attributes["status"], attributes["position"] = status, position
        attributes["excerpt"], attributes["written_at"] = excerpt, written_at
        attributes["sequence"] = self.sequence + 1
        if self.failure is not None or self.pause is not None:
            attributes["failure"] = attributes["pause"] = None
        if self.due is not None or self.terminated_by is not None:
            attributes["due"] = attributes["terminated_by"] = attributes["termination"] = None
        return self.from_trusted(attributes)


_ENTRIES = tuple(one.name for one in fields(Header) if one.default_factory is not MISSING)
"""The attributes that are dicts by step name."""


def _record(entries: dict[str, _Value], step: str, value: _Value, most: int) -> None:
    if step in entries:
        del entries[step]
    elif len(entries) >= most:
        del entries[next(iter(entries))]
    entries[step] = value
