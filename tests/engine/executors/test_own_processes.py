"""Processes of a flow's own: their time limits, their ends, forks, and what goes on beside them."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from multiprocessing.popen_spawn_posix import Popen
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps
from locations import program, with_support

from aiocheckpoint import CheckpointFlow, StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import Runner

LEASE = 0.3
SHORT = 1.0


def is_there(process: int) -> bool:
    """Whether there is a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def cp(tmp_path: Path, pools: object) -> Iterator[CheckpointFlow]:
    """Give a flow whose processes are ended behind the test."""
    flow = CheckpointFlow(tmp_path / "runs/", fsync=False)
    yield flow
    flow._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_loader_takes_too_long(cp: CheckpointFlow, runner: Runner) -> None:
    """The error names the part, and another run of the same flow goes on."""
    cp.add_step(sent_steps.sleep_in_load, executor="process", timeout=SHORT, name="work")(
        sent_steps.charge
    )
    with pytest.raises(StepTimeoutError) as caught:
        runner(cp, {"hangs": True}, run_id="x")
    error = caught.value
    assert (error.step, error.part, error.seconds) == ("work", "load", SHORT)
    header = cp.handler.header("x")
    assert (header.status, header.failure and header.failure.step) == ("failed", "work")
    assert cp.read("x")["hangs"]
    assert runner(cp, {}, run_id="y")["attempt"] == 1


def test_process_of_a_step_that_hangs(cp: CheckpointFlow, runner: Runner, tmp_path: Path) -> None:
    """It is killed, and the next attempt has another one."""
    cp.add_step(executor="process", timeout=SHORT, retry=2)(sent_steps.hang_once)
    given = {"mark": str(tmp_path / "mark"), "hung": str(tmp_path / "hung")}
    done = runner(cp, given, run_id="x")
    hung = int((tmp_path / "hung").read_text())
    assert done["attempt"] == 2
    assert done["process"] != hung
    assert not is_there(hung)


def test_time_of_a_step_in_time(cp: CheckpointFlow, runner: Runner) -> None:
    """The limit is that of each part, and none is left over for the next run."""
    cp.add_step(sent_steps.sleep_in_load, executor="process", timeout=60.0)(sent_steps.charge)
    first = runner(cp, {}, run_id="x")["process"]
    assert runner(cp, {}, run_id="y")["process"] == first


def test_ctrl_c_at_the_start_of_a_process(
    cp: CheckpointFlow,
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it means, the process of the run decides, also while the other one begins."""
    launch = Popen._launch  # type: ignore[attr-defined]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def launch_and_interrupt(self: Any, process: object) -> None:  # noqa: ANN401
        launch(self, process)
        os.kill(self.pid, signal.SIGINT)

    monkeypatch.setattr(Popen, "_launch", launch_and_interrupt)
    cp.add_step(executor="process")(sent_steps.charge)
    assert runner(cp, {}, run_id="x")["attempt"] == 1
    assert not caplog.records


async def test_lifespan_ends_them(cp: CheckpointFlow) -> None:
    """`async with` ends the processes, and the flow has new ones when it is opened again."""
    cp.add_step(executor="process")(sent_steps.charge)
    used: list[int] = []
    for number in range(2):
        async with cp:
            used.append((await cp.arun({}, run_id=f"order-{number}"))["process"])
            assert is_there(used[-1])
        assert not is_there(used[-1])
    assert len(set(used)) == 2


async def test_progress_comes_while_the_step_runs(cp: CheckpointFlow, tmp_path: Path) -> None:
    """The run hears it, and the step goes on since it has been heard."""
    cp.add_step(executor="process")(sent_steps.tell_progress)
    file = tmp_path / "heard"
    task = asyncio.create_task(cp.arun({"file": str(file)}, run_id="x"))
    heard: list[tuple[float, float | None, str | None]] = []
    async for event in cp.watch("x"):
        if type(event).__name__ == "StepProgressed":
            heard.append((event.done, event.total, event.note))  # type: ignore[attr-defined]
            file.touch()
        if type(event).__name__ == "RunFinished":
            break
    assert (await task)["cursor"] == {"half": 2}
    assert heard[0] == (1, 2, "halves")


@pytest.mark.parametrize("way", ["leaves", "runs"])
def test_fork_beside_them(way: str, tmp_path: Path) -> None:
    """A forked child leaves in peace and has processes of its own. Its parent keeps those it has.

    The interpreter's end kills the processes that live.
    """
    # Python 3.12 and newer warn of each fork beside threads.
    quiet = ("-W", "ignore:This process:DeprecationWarning")
    script = program("forked_beside_processes_script.py")
    ended = subprocess.run(
        [sys.executable, *quiet, script, tmp_path / "runs", way],
        capture_output=True,
        text=True,
        check=False,
        env=with_support(),
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    code, same, process = ended.stdout.split()
    assert (code, same) == ("3", "True")
    assert not is_there(int(process))


def beat(path: Path, owners: int) -> int:
    """Give the sum of the heartbeats in a database, once it has so many owners."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT beat FROM owners").fetchall()
    return sum(one for (one,) in found) if len(found) == owners else 0


async def test_leases_beside_a_held_interpreter(pools: object, tmp_path: Path) -> None:
    """A step holds its interpreter until the lease of another run has been renewed three times.

    In a thread it would keep that from ever coming.
    """
    held, file, path = tmp_path / "held", tmp_path / "renewed", tmp_path / "runs.db"
    cp = CheckpointFlow(f"sqlite:///{path}", lease=LEASE, fsync=False)
    cp.add_step(executor="process", name="work")(sent_steps.hold_interpreter)
    async with cp:
        run = asyncio.create_task(cp.arun({"begun": str(held), "file": str(file)}, run_id="x"))
        while not held.exists() and not run.done():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        begun = beat(path, 1)
        while beat(path, 1) < begun + 3 and not run.done():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        file.touch()
        assert (await run)["held"] == 0
