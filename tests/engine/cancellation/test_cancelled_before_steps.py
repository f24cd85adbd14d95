"""A run that is cancelled before its first step is recorded as one that is cancelled in it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from suspension_points import MOMENTS, at_point, outcome_of

from aiocheckpoint.events import RunStarted, StepFailed, StepStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow, Header
    from aiocheckpoint.events import Event

STATE = {"n": 1}


@dataclass
class Interrupted:
    """Flows of two steps that suspend, as do their hooks.

    Attributes:
        runs: Makes them in one place.
        fails: Whether the second step fails.
        events: The events of the runs.
    """

    runs: Runs
    fails: bool = False
    events: list[Event] = field(default_factory=list[Any])

    def flow(self) -> CheckpointFlow:
        """Make a flow."""
        made = self.runs.empty_flow(hooks=[self.hook])
        made.add_step(name="a")(self.step)
        made.add_step(name="b")(self.failing_step)
        return made

    async def hook(self, event: Event) -> None:
        """Note an event, and suspend."""
        self.events.append(event)
        await asyncio.sleep(0)

    async def step(self, state: State) -> None:
        """Suspend."""
        await asyncio.sleep(0)

    async def failing_step(self, state: State) -> None:
        """Suspend, and perhaps fail."""
        await asyncio.sleep(0)
        if self.fails:
            raise ValueError

    def has_seen(self, kind: type[Event]) -> bool:
        """Whether there was such an event."""
        return any(isinstance(event, kind) for event in self.events)


async def begin_anew(_subject: Interrupted, _run_id: str) -> None:
    """Store nothing."""


async def queue(subject: Interrupted, run_id: str) -> None:
    """Store a queued run."""
    await subject.flow().asubmit(STATE, run_id=run_id)


async def fail(subject: Interrupted, run_id: str) -> None:
    """Store a run that has failed in its second step."""
    subject.fails = True
    with pytest.raises(ValueError):  # noqa: PT011 - it is the step's own
        await subject.flow().arun(STATE, run_id=run_id)
    subject.fails = False


BEFORE: dict[str, Callable[..., Any]] = {"new": begin_anew, "queued": queue, "failed": fail}


@pytest.mark.parametrize("before", BEFORE)
async def test_cancelled_at_each_point(before: str, runs: Runs) -> None:
    """Whatever is stored of the run says that it was cancelled, and at which step."""
    subject, seen = Interrupted(runs), set[str]()
    cp = subject.flow()
    for number in itertools.count(1):
        run_id = f"run-{number}"
        await BEFORE[before](subject, run_id)
        subject.events.clear()
        work = cp.arun(STATE, run_id=run_id)
        interrupter, _ = await outcome_of(work, [number], MOMENTS["at-once"])
        if not interrupter.interrupted:
            break
        with at_point(number):
            seen.add(check(subject, await cp.aheader(run_id), before))
        assert await cp.arun(STATE, run_id=run_id) == STATE
    assert {"before its step", "in its step"} <= seen


def check(subject: Interrupted, header: Header | None, before: str) -> str:
    """Check a run that was cancelled, and give where that was."""
    if header is None or header.finished:
        assert header is not None or before == "new"
        return "at an end"
    assert header.owner is None
    if header.status == before:  # Its plan was not made.
        assert not subject.has_seen(RunStarted)
        return "in its claim"
    assert header.status == "cancelled"
    assert header.failure is not None
    assert header.failure.type == "asyncio.exceptions.CancelledError"
    assert header.due is not None
    (end,) = (event for event in subject.events if isinstance(event, StepFailed))
    assert (end.step, end.cancelled) == (header.failure.step, True)
    begun = [event.step for event in subject.events if isinstance(event, StepStarted)]
    if header.failure.step in begun:
        return "in its step"
    assert header.failure.step == header.next_step == ("b" if before == "failed" else "a")
    return "before its step"
