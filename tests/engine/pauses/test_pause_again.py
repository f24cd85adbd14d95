"""A step that pauses again with nothing answered keeps the number of its pause."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import Latch
from killed_workers import LOCATIONS
from run_factories import UNFINISHED

from aiocheckpoint import CheckpointFlow, Pause, PauseConflictError, RunInProgressError

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner, State

PATIENCE = 30.0
POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


class Desk:
    """Flows of orders that are approved twice, by `by` and by `boss`.

    Attributes:
        latch: Holds the first step where it is set.
        error: Raised by the first step where it is set.
    """

    def __init__(self, runs: Runs) -> None:
        """Begin with an open desk."""
        self.runs = runs
        self.latch: Latch | None = None
        self.error: BaseException | None = None

    def flow(self, first: str = "approve", **options: Any) -> CheckpointFlow:  # noqa: ANN401
        """Make a flow as one of several workers has it."""
        cp = CheckpointFlow(self.runs.path, **{**self.runs.options, **options})

        @cp.add_step(name=first)
        async def approve(state: State) -> None:
            if self.latch is not None and "by" not in state:
                self.latch.entered.set()
                assert await asyncio.to_thread(self.latch.opened.wait, 30)
            if self.error is not None:
                raise self.error
            if "by" not in state:
                raise Pause("approval")

        @cp.add_step()
        async def boss(state: State) -> None:
            if "boss" not in state:
                raise Pause("boss?")

        return cp


@pytest.fixture
def desk(runs: Runs) -> Desk:
    """Give flows on each kind of store."""
    return Desk(runs)


def pause(cp: CheckpointFlow) -> tuple[str, str | None, int]:
    """Give status, reason and number of the pause."""
    header = cp.header("x")
    assert header is not None
    return header.status, header.pause, header.pause_number


@pytest.mark.parametrize("once", [False, True])
def test_repeated_request(desk: Desk, runner: Runner, *, once: bool) -> None:
    """Requests that repeat a paused run leave the number that the approver was shown."""
    cp = desk.flow()
    for _ in range(3):
        runner(cp, {}, run_id="x", once=once)
        assert pause(cp) == ("paused", "approval", 1)
    assert runner(cp, run_id="x", update={"by": "Ann"}, answers=1) == {"by": "Ann"}
    assert pause(cp) == ("paused", "boss?", 2)


async def test_answer_while_the_step_runs_again(desk: Desk) -> None:
    """It is early: it waits for the pause with `wait=`, and is refused for now without."""
    cp = desk.flow()
    await cp.arun({}, run_id="x")
    desk.latch = Latch(blocks=False)
    again = asyncio.create_task(cp.arun({}, run_id="x", once=True))
    await desk.latch.reached()
    assert pause(cp) == ("running", "approval", 1)
    for answers in (1, None):
        with pytest.raises(RunInProgressError):
            await desk.flow().aresume("x", {"by": "Bob"}, answers)
    answer = asyncio.create_task(desk.flow().aresume("x", {"by": "Ann"}, 1, wait=PATIENCE))
    unnamed = asyncio.create_task(desk.flow().aresume("x", {"by": "Eve"}, wait=PATIENCE))
    await asyncio.sleep(0.1)
    desk.latch.opened.set()
    assert await again == {}
    ends = await asyncio.gather(answer, unnamed, return_exceptions=True)
    assert [type(end) for end in ends].count(PauseConflictError) == 1
    assert pause(cp) == ("paused", "boss?", 2)


@pytest.mark.parametrize("kind", [ConnectionError, asyncio.CancelledError])
def test_broken_between(kind: type[BaseException], desk: Desk, runner: Runner) -> None:
    """A step that breaks in its second execution, and pauses in the third, keeps the number."""
    cp = desk.flow()
    runner(cp, {}, run_id="x")
    desk.error = kind()
    with pytest.raises(kind):
        runner(cp, run_id="x")
    with pytest.raises(PauseConflictError) as info:
        runner(cp, run_id="x", update={"by": "Ann"}, answers=1)
    assert "is over" not in str(info.value)
    desk.error = None
    runner(cp, run_id="x")
    assert pause(cp) == ("paused", "approval", 1)


def test_next_pauses(desk: Desk, runner: Runner) -> None:
    """Another step, a new run, a patch to a step, and an answer without values count on."""
    cp = desk.flow()
    runner(cp, {}, run_id="x")
    runner(cp, run_id="x", answers=1)
    assert pause(cp) == ("paused", "approval", 2)
    runner(cp, {}, run_id="x", checkpoint=0)
    assert pause(cp) == ("paused", "approval", 3)
    cp.patch({}, 0, run_id="x")
    assert pause(cp) == ("stopped", None, 3)
    runner(cp, run_id="x")
    assert pause(cp) == ("paused", "approval", 4)
    cp.patch({"n": 1}, run_id="x")
    runner(cp, run_id="x")
    assert pause(cp) == ("paused", "approval", 4)
    runner(cp, run_id="x", checkpoint="boss")
    assert pause(cp) == ("paused", "boss?", 5)


@pytest.mark.parametrize(("to", "number"), [("ask", 1), ("boss", 2)])
def test_migrated(to: str, number: int, desk: Desk, runner: Runner) -> None:
    """The pause of a migrated run keeps its number if it goes on at a step of the same name."""
    runner(desk.flow("ask", version=1), {}, run_id="x")
    cp = desk.flow("first", version=2, migrate=lambda _state, _version: to)
    cp.add_step(name="ask", after="first")(ask)
    for _ in range(2):
        runner(cp, run_id="x")
        assert pause(cp)[2] == number


def ask(_state: State) -> None:
    """Pause always."""
    raise Pause("approval")


async def test_unnamed_early_answers(desk: Desk) -> None:
    """Each is for the pause that was the next one at its call, and so one of two is refused."""
    answers = [
        asyncio.create_task(
            desk.flow().arun(run_id="x", update={"by": who, "boss": who}, wait=PATIENCE)
        )
        for who in ("Ann", "Bob")
    ]
    slow = asyncio.create_task(desk.flow().arun(run_id="x", update={"by": "Eve"}, wait=PATIENCE))
    await asyncio.sleep(0.1)
    await desk.flow().arun({}, run_id="x")
    ends = await asyncio.gather(*answers, slow, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, PauseConflictError)]
    assert len(refused) == 2
    assert {(one.answers, one.early) for one in refused} == {(1, False)}


PROGRAM = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow, Pause

cp, update = CheckpointFlow(sys.argv[1], name="flow"), eval(sys.argv[2])

@cp.add_step()
def step(state):
    if cp.header("x").pause_number:
        os.kill(os.getpid(), signal.SIGKILL)
    raise Pause("approval")

cp.run({}, run_id="x")
cp.run(run_id="x", update=update)
"""


@pytest.mark.leaves_files
@pytest.mark.parametrize("update", [None, {"by": "Ann"}], ids=["repeated", "answered"])
@pytest.mark.parametrize("kind", LOCATIONS)
@POSIX
def test_killed(kind: str, update: State | None, tmp_path: Path) -> None:
    """Recovery takes a run killed in the second execution. A repeated answer gets its reason."""
    place = LOCATIONS[kind].format(tmp_path)
    command = [sys.executable, "-c", PROGRAM, place, repr(update)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    cp = CheckpointFlow(place, name="flow")
    cp.add_step(name="step")(ask)
    assert pause(cp) == ("running", None if update else "approval", 1)
    with pytest.raises(PauseConflictError, match=r"ended.*resume\('x'\) goes on") as info:
        cp.resume("x", {"by": "Ann"}, 1)
    assert ("answered already" in str(info.value), info.value.early) == (bool(update), not update)

    async def recovered() -> list[int]:
        return [result.pause_number async for result in cp.aresume_all(status=UNFINISHED)]

    assert asyncio.run(recovered()) == [2 if update else 1]
