"""The header of a snapshot, readable without unpickling: run, time, progress, failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

from aiocheckpoint._model.step_names import (
    MOST_NAMES,
    NO_STEP_NAMES,
    ListedStepNames,
    RecordedStepNames,
    StepNames,
    StepNamesExcerpt,
)

__all__ = ["Failure", "Header", "Status"]

Status = Literal["running", "stopped", "paused", "failed", "cancelled", "finished"]
"""The state of a run. "running" also where its process was killed. "stopped" by `until=`, by
draining or by hand. "paused" by a step."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The exception that ended a run or an attempt, as text.

    Attributes:
        step: Name of the step that raised it.
        part: "load", "step", "save" or "snapshot".
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
class Header:
    """The readable part of a snapshot.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None for the only run of a flow.
        number: Counts the runs that began anew under this id, from 1. 0 where unknown.
        sequence: Counts the snapshots written of this run id, from 1. 0 where unknown.
        steps: Names of the flow's steps. None for a file of gumly, for a handler of dicts, and for
            flows of more than 100 steps.
        excerpt: The record of the step names of a flow of more than 100 steps, else None.
        position: Index of the step at which the next run starts.
        status: The state of the run.
        failure: What ended the run, or None. For a running run, the failure of the attempt before.
        pause: The reason that a step gave for pausing the run, or None.
        attempts: Number of attempts by step name, for steps of this run with more than one
            attempt. For a flow of more than 100 steps, the newest 20 entries.
        durations: Seconds by step name, for the finished steps of this run: loader, step and saver
            together. For a flow of more than 100 steps, the newest 20 entries.
        holds_data: Whether the payload holds `data` beside the state, as `keep_data=True` has it.
        code: Whether the payload holds functions or classes by value.
        python: Version of the Python that wrote the payload, "" where unknown.
        dill: Version of dill that wrote it, "" where unknown.
        library: Version of aiocheckpoint that wrote it, "" where unknown.
        written_at: Seconds since the epoch.
        started_at: When the run began at its first step, in seconds since the epoch. 0.0 where
            unknown.
        signed_by: Id of the secret that the snapshot is signed with, 16 hexadecimal digits, or
            None. The id is stored beside the header. Only a reader with a secret verifies it.
        sizes: Bytes of the state's stored values by key. A value that several keys share counts for
            the first key. Only `aiocheckpoint.inspect` sets it. None elsewhere.
        owner: The process that runs the run, such as "process 12 on web-1", or None. Only the lists
            of a handler with leases set it. The process may have died since.
    """

    flow: str
    position: int
    run_id: str | None = None
    number: int = 0
    sequence: int = 0
    steps: tuple[str, ...] | None = None
    excerpt: StepNamesExcerpt | None = None
    status: Status = "running"
    failure: Failure | None = None
    pause: str | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    durations: dict[str, float] = field(default_factory=dict[str, float])
    holds_data: bool = False
    code: bool = False
    python: str = ""
    dill: str = ""
    library: str = ""
    written_at: float = 0.0
    started_at: float = 0.0
    signed_by: str | None = None
    sizes: Mapping[str, int] | None = None
    owner: str | None = None

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
        self._record(self.attempts, step, number)

    def record_duration(self, step: str, seconds: float) -> None:
        """Note the duration of a step to the microsecond, as the newest entry."""
        self._record(self.durations, step, round(seconds, 6))

    def _record(self, entries: dict[str, _Value], step: str, value: _Value) -> None:
        entries.pop(step, None)
        entries[step] = value
        if len(entries) > (MOST_NAMES if self.excerpt is None else self.excerpt.max_recorded):
            del entries[next(iter(entries))]

    def next(
        self, status: Status, position: int, written_at: float, excerpt: StepNamesExcerpt | None
    ) -> Self:
        """The header of the next snapshot. Every step makes one, hence the short cut."""
        attributes = self.__dict__.copy()
        attributes["status"], attributes["position"], attributes["excerpt"] = (
            status,
            position,
            excerpt,
        )
        attributes["sequence"], attributes["written_at"] = self.sequence + 1, written_at
        if self.failure is not None or self.pause is not None:
            attributes["failure"] = attributes["pause"] = None
        return self.from_trusted(attributes)
