"""What a live view asks of the run that it follows, in place of hearing each event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiocheckpoint._model.current_step import Progress
    from aiocheckpoint._model.followers import RunFacts, StepFacts
    from aiocheckpoint._model.header import Header

__all__ = ["AskedRun", "StepNow", "step_now"]

_ENTRIES = ("attempts", "durations", "snapshots")
"""The attributes of a header that a run fills on its way."""


class StepNow(NamedTuple):
    """The attempt at a step in which a run was when it was asked.

    Attributes:
        facts: The step, for its identity.
        position, of: Its index, and the number of steps.
        attempt: Number of the attempt.
        began: When the attempt began, by `time.perf_counter`.
        progress: What the attempt has said last of its progress, or None.
    """

    facts: StepFacts
    position: int
    of: int
    attempt: int
    began: float
    progress: Progress | None

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.facts.step

    @property
    def began_at(self) -> float:
        """When the attempt began, in seconds since the epoch."""
        return time.time() - (time.perf_counter() - self.began)

    def is_same(self, other: StepNow | None) -> bool:
        """Whether both are of one attempt."""
        return other is not None and self[:-1] == other[:-1]


def step_now(run: RunFacts) -> StepNow | None:
    """Ask a run for its step. None where no attempt has begun, as before a limiter lets it in."""
    step = run.step
    if step is None or step.part == "limiter":
        return None
    return StepNow(step, step.index, step.of, step.attempt, step.began, step.latest)


class AskedRun:
    """A run in progress, asked in the thread of a display.

    Args:
        run: The run, which begins now.
    """

    def __init__(self, run: RunFacts) -> None:
        self._run = run
        self._stored = self._before = run.stored

    @property
    def place(self) -> tuple[object, ...]:
        """Where the run is. Another value where it is elsewhere."""
        step = step_now(self._run)
        return self._run.stored, None if step is None else step[:-1]

    @property
    def marks(self) -> tuple[object, ...]:
        """What a display shows of the run. Another value where there is something new."""
        return self._run.stored, step_now(self._run)

    def step(self) -> StepNow | None:
        """Give the attempt that is in progress, or None."""
        return step_now(self._run)

    def newest_header(self, present: Header) -> Header:
        """Give the header as the run has it now, with entries of its own.

        Args:
            present: The one that is known, which stays where the run has stored nothing since it
                began.
        """
        stored = self._run.stored
        if stored is None or stored is self._before:
            return present
        # A dict is copied in one operation of the interpreter, while the run goes on to fill it.
        entries = {name: dict(getattr(stored, name)) for name in _ENTRIES}
        if stored is self._stored:
            present.__dict__.update(entries)
            return present
        self._stored = stored
        return present.from_trusted({**stored.__dict__, **entries})
