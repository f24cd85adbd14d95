"""What asks a run of this process where it is, in place of an event for each step.

A short step is over in less time than its events take. So a display hears the rare events alone,
and asks for all else when it paints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiocheckpoint._model.current_step import Progress
    from aiocheckpoint._model.header import Header

__all__ = ["Follower", "RunFacts", "StepFacts"]


class StepFacts(Protocol):
    """The step that a run is in, as it is at the moment. Any thread may read it."""

    @property
    def step(self) -> str:
        """Its name."""
        ...

    @property
    def index(self) -> int:
        """Its index."""
        ...

    @property
    def of(self) -> int:
        """The number of steps."""
        ...

    @property
    def part(self) -> str:
        """The part: "limiter", "load", "step", "save", or "snapshot" behind them."""
        ...

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        ...

    @property
    def began(self) -> float:
        """Start of the attempt, by `time.perf_counter`."""
        ...

    @property
    def latest(self) -> Progress | None:
        """What the attempt has said last of its progress, or None."""
        ...


class RunFacts(Protocol):
    """A run in progress, as it is at the moment. Any thread may read it."""

    @property
    def flow(self) -> str:
        """Name of the flow."""
        ...

    @property
    def run_id(self) -> str | None:
        """The run's id, or None."""
        ...

    @property
    def stored(self) -> Header | None:
        """The header that is stored, a new object after each change. None where there is none.

        The run goes on to fill its dicts.
        """
        ...

    @property
    def step(self) -> StepFacts | None:
        """The step that the run is in, or None between two steps."""
        ...


class Follower:
    """Follows runs by asking them. It hears no event that each step has.

    It is no protocol: `isinstance` of one takes 20 µs in Python 3.11, and each run asks it.
    """

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now, in its thread."""
        raise NotImplementedError

    def hear(self, event: Any) -> None:  # noqa: ANN401 - events are above this package
        """Take a rare event, as a listener does: a beginning, a failure, or an end."""
        raise NotImplementedError
