"""A second run of the same path during the first: refused at once, or made to wait."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import FlowFactory, Runner, State

PATIENCE = 60.0

OWNER = """
import sys
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow(sys.argv[1])

@cp.add_step()
def hold(state, data):
    print("held", flush=True)
    sys.stdin.read()

cp.run({"who": "owner"})
"""


class Held:
    """A run that holds its lock, in a thread of this process, until it is released."""

    def __init__(self, flows: FlowFactory) -> None:
        """Start the run, and wait until it is in its step."""
        self.entered, self.free = threading.Event(), threading.Event()
        cp = CheckpointFlow(flows.path)
        cp.add_step(name="a")(self.hold)
        self.thread = threading.Thread(target=cp.run, args=({"who": "owner"},))
        self.thread.start()
        assert self.entered.wait(PATIENCE)

    def hold(self, state: State) -> None:
        """Block in the step until released."""
        self.entered.set()
        assert self.free.wait(PATIENCE)

    def end(self) -> None:
        """Let the run finish."""
        self.free.set()
        self.thread.join(PATIENCE)


@pytest.fixture
def held(flows: FlowFactory) -> Iterator[Held]:
    """Give a run in progress in this process."""
    owner = Held(flows)
    yield owner
    owner.end()


@pytest.fixture
def foreign(flows: FlowFactory) -> Iterator[subprocess.Popen[str]]:
    """Give a run in progress in another process."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(flows.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        yield owner
        owner.communicate(timeout=PATIENCE)


def test_second_run_in_this_process_is_refused(
    held: Held, runner: Runner, flows: FlowFactory
) -> None:
    """A second run raises at once, names this process, and neither runs nor writes."""
    before = flows.files()
    with pytest.raises(RunInProgressError) as info:
        runner(flows.flow("a"))
    assert (info.value.pid, str(info.value.path)) == (os.getpid(), str(flows.path))
    assert str(os.getpid()) in str(info.value)
    assert "wait=" in str(info.value)
    assert (flows.log, flows.files()) == ([], before)


def test_second_run_in_another_process_is_refused(
    foreign: subprocess.Popen[str], runner: Runner, flows: FlowFactory
) -> None:
    """A second run raises at once, and names the process that owns the lock, and since when."""
    with pytest.raises(RunInProgressError) as info:
        runner(flows.flow("a"))
    assert info.value.pid == foreign.pid
    assert info.value.host
    assert info.value.since
    assert flows.log == []


def test_killed_owner_leaves_the_path_free(
    foreign: subprocess.Popen[str], runner: Runner, flows: FlowFactory
) -> None:
    """If the owner is killed, the next run takes over at once and resumes."""
    foreign.kill()
    foreign.wait()
    assert runner(flows.flow("hold"))["who"] == "owner"


def test_wait_takes_over_when_the_first_ends(
    held: Held, runner: Runner, flows: FlowFactory
) -> None:
    """With `wait=` the second run begins after the first has ended."""
    timer = threading.Timer(0.1, held.end)
    timer.start()
    assert runner(flows.flow("a"), wait=PATIENCE)["who"] == "owner"
    timer.join()
    assert flows.ran() == ["a"]


def test_wait_has_an_end(held: Held, runner: Runner, flows: FlowFactory) -> None:
    """If the first run does not end in time, the second is refused."""
    with pytest.raises(RunInProgressError):
        runner(flows.flow("a"), wait=0.1)
    assert flows.log == []


def test_other_runs_are_not_concerned(held: Held, runner: Runner, flows: FlowFactory) -> None:
    """Another run id has a lock of its own. So has another path."""
    runner(flows.flow("a"), run_id="other")
    assert flows.ran() == ["a"]


def test_plan_during_a_run(held: Held, runner: Runner, flows: FlowFactory) -> None:
    """`plan` needs no lock."""
    assert runner.plan(flows.flow("a")).start == 0


def test_reset_during_a_run_is_refused(held: Held, runner: Runner, flows: FlowFactory) -> None:
    """`reset` does not delete the snapshot of a run in progress."""
    with pytest.raises(RunInProgressError):
        runner.reset(flows.flow("a"))
    assert flows.stored()["who"] == "owner"


def test_flow_inside_its_own_step_is_refused(any_runner: Runner, flows: FlowFactory) -> None:
    """A step that runs its own flow gets the error, and does not wait for itself."""
    cp = CheckpointFlow(flows.path)

    @cp.add_step()
    def again(state: State) -> None:
        with pytest.raises(RunInProgressError):
            cp.run()
        state["tried"] = True

    assert any_runner(cp) == {"tried": True}


async def test_two_runs_started_together_do_the_work_once(flows: FlowFactory) -> None:
    """Of two runs of one path started at once, one runs and one is refused."""
    flows.asynchronous = True
    runs = [flows.flow().arun(), flows.flow().arun()]
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["RunInProgressError", "dict"]
    assert flows.ran() == ["a", "b", "c"]


async def test_waiting_can_be_cancelled(held: Held, flows: FlowFactory) -> None:
    """A run that waits for the lock can be cancelled, and has done nothing."""
    task = asyncio.create_task(flows.flow("a").arun(wait=PATIENCE))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert flows.log == []


@pytest.mark.parametrize(("wait", "kind"), [("1", InvalidTypeError), (-1, InvalidValueError)])
def test_wait_that_is_none_is_refused(
    wait: object, kind: type[Exception], runner: Runner, flows: FlowFactory
) -> None:
    """`wait=` takes a number of seconds that is not negative."""
    with pytest.raises(kind, match="wait"):
        runner(flows.flow(), wait=wait)
    assert flows.log == []
