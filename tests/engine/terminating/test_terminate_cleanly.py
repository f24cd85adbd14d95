"""A termination interrupts no hook, no manager of `around=` and no leave of a limiter."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from terminated_runs import REASON, assert_terminated, given

from aiocheckpoint import RunTerminatedError
from aiocheckpoint._engine.claimed_runs import terminate_here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from run_factories import Runs
    from support import State

    from aiocheckpoint.events import Event

NOT_CALLED = {"around entered", "StepStarted", "StepLoaded"}
FAILED = {"limiter of a failure", "around of a failure"}


class Place:
    """Holds a run in the midst of user code that is no part of the step.

    Args:
        name: Where.

    Attributes:
        passed: Whether the run got through.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.entered, self.free = threading.Event(), threading.Event()
        self.passed = False

    async def go(self, name: str) -> None:
        """Wait here, if this is the place."""
        if name != self.name or self.entered.is_set():
            return
        self.entered.set()
        while not self.free.is_set():  # noqa: ASYNC110 - set in any thread
            await asyncio.sleep(0.005)
        self.passed = True

    async def hook(self, event: Event) -> None:
        """Wait in a hook."""
        await self.go(type(event).__name__)

    def around(self, part: str, _: Event) -> Any:  # noqa: ANN401
        """Give a manager for attempts."""
        return self.manager("around") if part == "attempt" else None

    @asynccontextmanager
    async def manager(self, kind: str) -> AsyncGenerator[None, None]:
        """Wait when it is entered or left."""
        await self.go(f"{kind} entered")
        try:
            yield
        except ValueError:
            await self.go(f"{kind} of a failure")
            raise
        await self.go(f"{kind} left")


async def end(place: Place, path: str) -> None:
    """Terminate the run where it is held, and only then let it go."""
    assert await asyncio.to_thread(place.entered.wait, 10.0)
    for _ in range(2):
        terminate_here(path, REASON)
        await asyncio.sleep(0.05)
    assert not place.passed
    place.free.set()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("limiter left", "arun"),
        ("limiter of a failure", "arun"),
        *(
            (name, method)
            for name in [
                *("around entered", "around left", "around of a failure"),
                *("StepStarted", "StepLoaded", "StepFinished"),
            ]
            for method in ("arun", "run")
        ),
    ],
)
def test_is_awaited_to_its_end(name: str, method: str, runs: Runs) -> None:
    """The run is terminated behind it, where its step is done by then, or not called."""
    place = Place(name)
    cp = runs.empty_flow(hooks=[place.hook], around=[place.around])

    async def first(state: State) -> None:
        await asyncio.sleep(0)
        state["trail"].append("first")
        if name in FAILED:
            raise ValueError("failed")

    limiter: Any = {"limiter": lambda state: place.manager("limiter")} if method == "arun" else {}
    cp.add_step(name="first", load=lambda state: {}, **limiter)(first)
    cp.add_step(name="second")(lambda state: state["trail"].append("second"))

    async def main() -> None:
        ending = asyncio.create_task(end(place, cp.handler.locate("x")))
        work = cp.arun(given(), run_id="x")
        if method == "run":
            work.close()
            work = asyncio.to_thread(cp.run, given(), run_id="x")
        with pytest.raises(RunTerminatedError) as info:
            await work
        await ending
        assert isinstance(info.value.__cause__, ValueError) == (name in FAILED)

    asyncio.run(main())
    assert place.passed
    undone = name in NOT_CALLED | FAILED
    assert_terminated(cp, 0 if undone else 1, [] if undone else ["first"])
