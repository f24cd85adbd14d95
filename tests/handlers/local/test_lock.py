"""One run of a checkpoint at a time, in one process and between processes."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lock_processes import PATIENCE, flow, lock_process, refuse
from racing import take_turns

from aiocheckpoint import CheckpointFlow, LocalStateHandler, RunInProgressError

if TYPE_CHECKING:
    from support import Runner, State

ROUNDS = 50

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def test_owner_in_this_process_is_named(runner: Runner, tmp_path: Path) -> None:
    """A second run inside a step of the first is refused, and the error names the owner."""
    path = tmp_path / "c.pkl"
    errors: list[RunInProgressError] = []
    began = datetime.now(UTC).replace(microsecond=0)
    inner = flow(path, lambda state: errors.append(refuse_in_thread(runner, path)))
    runner(inner)
    error = errors[0]
    assert (error.path, error.pid, error.host) == (str(path), os.getpid(), socket.gethostname())
    assert error.since is not None
    assert began <= datetime.fromisoformat(error.since) <= datetime.now(UTC)
    for fact in (str(path), str(os.getpid()), "this very process"):
        assert fact in str(error)


def refuse_in_thread(runner: Runner, path: Path) -> RunInProgressError:
    """Call `refuse` in another thread, which has no running loop."""
    found: list[RunInProgressError] = []
    thread = threading.Thread(target=lambda: found.append(refuse(runner, path)))
    thread.start()
    thread.join()
    return found[0]


def test_owner_in_another_process_is_named(runner: Runner, tmp_path: Path) -> None:
    """A second run in another process is refused at once, and the error names the owner."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held") as other:
        error = refuse(runner, path)
        assert (error.pid, error.host) == (other.process.pid, socket.gethostname())
        other.send("end")
        assert other.answer() == "ended"
        assert runner(flow(path)) == {"pid": other.process.pid}


def test_killed_owner_frees_the_path_at_once(runner: Runner, tmp_path: Path) -> None:
    """When the owner is killed, the next run starts without waiting, and resumes."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held") as other:
        refuse(runner, path)
        other.kill()
        resumed = flow(path)
        assert not resumed.plan().fresh
        assert runner(resumed) == {"pid": other.process.pid}


def test_waiting_run_begins_when_the_owner_ends(runner: Runner, tmp_path: Path) -> None:
    """With `wait=`, a run starts when the owner has ended, and resumes its snapshot."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held") as other:
        timer = threading.Timer(0.2, other.send, ["end"])
        timer.start()
        assert runner(flow(path), wait=PATIENCE) == {"pid": other.process.pid}
        assert other.answer() == "ended"
        timer.join()


def test_waiting_run_begins_when_the_owner_is_killed(runner: Runner, tmp_path: Path) -> None:
    """With `wait=`, a run starts when the owner has been killed."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held") as other:
        timer = threading.Timer(0.2, other.process.kill)
        timer.start()
        assert runner(flow(path), wait=PATIENCE) == {"pid": other.process.pid}
        timer.join()


def test_waiting_has_an_end(runner: Runner, tmp_path: Path) -> None:
    """When the owner does not end within `wait=`, the error names it as well."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held") as other, pytest.raises(RunInProgressError) as info:
        runner(flow(path), wait=0.12)
    assert info.value.pid == other.process.pid


async def test_tasks_of_one_loop_exclude_each_other(tmp_path: Path) -> None:
    """Of many tasks that start one run, one runs. Tasks that wait run one after another."""
    running = 0

    async def step(state: State) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.001)
        running -= 1

    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    cp.add_step()(step)
    results = await asyncio.gather(*(cp.arun({}) for _ in range(20)), return_exceptions=True)
    active_run = [result for result in results if isinstance(result, RunInProgressError)]
    assert len(active_run) == len(results) - 1
    waiting = await asyncio.gather(*(cp.arun({}, wait=PATIENCE) for _ in range(20)))
    assert waiting == [{}] * 20


async def test_run_ids_do_not_exclude_each_other(tmp_path: Path) -> None:
    """Runs of different ids, and the one without an id, run at the same time."""
    together = asyncio.Barrier(3)
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    async def meet(state: State) -> None:
        async with asyncio.timeout(PATIENCE):
            await together.wait()

    await asyncio.gather(cp.arun({}), cp.arun({}, run_id="x"), cp.arun({}, run_id="y"))


@pytest.mark.parametrize("way", ["relative", "dotted", "linked-directory", "linked-file"])
@posix_only
def test_path_by_another_name_is_the_same_path(way: str, runner: Runner, tmp_path: Path) -> None:
    """All spellings of a path share one lock."""
    path = tmp_path / "place" / "c.pkl"
    flow(path).run()
    (tmp_path / "link").symlink_to(path.parent, target_is_directory=True)
    (tmp_path / "link.pkl").symlink_to(path)
    other = {
        "relative": Path(os.path.relpath(path)),
        "dotted": path.parent / ".." / path.parent.name / path.name,
        "linked-directory": tmp_path / "link" / path.name,
        "linked-file": tmp_path / "link.pkl",
    }[way]
    with lock_process(path, "hold", "held"):
        refuse(runner, other)


@pytest.mark.parametrize("name", ["reset", "write"])
def test_other_changes_are_refused_meanwhile(name: str, runner: Runner, tmp_path: Path) -> None:
    """During a run its checkpoint cannot be deleted or patched. It can be read and planned."""
    path = tmp_path / "c.pkl"
    cp = flow(path)
    with lock_process(path, "hold", "held") as other:
        before = path.read_bytes()
        changes = {
            "reset": lambda: runner.reset(cp),
            "write": lambda: runner.write(cp.handler, {"checkpoint_index": 0}),
        }
        with pytest.raises(RunInProgressError):
            changes[name]()
        assert path.read_bytes() == before
        assert runner.read(cp.handler) == {"pid": other.process.pid, "checkpoint_index": 0}
        assert runner.plan(cp).start == 0


@pytest.mark.parametrize("wait", [0.0, PATIENCE], ids=["refused", "waiting"])
def test_racing_processes_run_one_at_a_time(wait: float, tmp_path: Path) -> None:
    """Of two processes released together repeatedly, exactly one gets the lock."""
    take_turns(tmp_path / "c.pkl", ROUNDS, wait)


def test_lock_changes_hands_a_thousand_times(tmp_path: Path) -> None:
    """In a thousand handovers no process ever holds the lock of a deleted file."""
    inside: list[int] = []
    crowds: list[list[int]] = []

    def compete(number: int) -> None:
        lock = LocalStateHandler(tmp_path / "c.pkl").lock()
        left = ROUNDS * 5
        while left:
            try:
                lock.acquire()
            except RunInProgressError:
                continue
            inside.append(number)
            time.sleep(0.0005)
            if len(inside) != 1:
                crowds.append([*inside])
            inside.remove(number)
            lock.release()
            left -= 1

    threads = [threading.Thread(target=compete, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowds == []
