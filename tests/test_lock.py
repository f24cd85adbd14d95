"""One run of a checkpoint at a time, in one process and between processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, LocalStateHandler, RunInProgressError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Door, Lab, State

PATIENCE = 60.0
ROUNDS = 50
CONTENDER = Path(__file__).with_name("contender.py")
FORKING = Path(__file__).with_name("forking.py")

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


class Contender:
    """Another process that runs a flow when it is told to."""

    def __init__(self, path: Path) -> None:
        """Start it, and wait until it listens."""
        pipe = subprocess.PIPE
        command = [sys.executable, CONTENDER, path]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.answer() == "ready"

    def tell(self, command: str) -> None:
        """Give it a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Read its next answer."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it, so that it can clean nothing up."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it end."""
        self.process.communicate(timeout=PATIENCE)


@contextmanager
def contender(path: Path, command: str = "", answer: str = "") -> Iterator[Contender]:
    """Give another process that has been told something and has answered."""
    other = Contender(path)
    try:
        if command:
            other.tell(command)
            assert other.answer() == answer
        yield other
    finally:
        other.close()


def flow(path: Path, step: Callable[[State], None] = lambda state: None) -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow(path)
    cp.add_step(name="only")(step)
    return cp


def lock_file(tmp_path: Path) -> Path:
    """Find where the lock of `c.pkl` lies while a run holds it."""
    found: list[Path] = []
    flow(tmp_path / "c.pkl", lambda state: found.extend(tmp_path.glob("*.lock"))).run()
    flow(tmp_path / "c.pkl").reset()
    assert len(found) == 1
    return found[0]


def refuse(door: Door, path: Path) -> RunInProgressError:
    """See that a run is refused before its step, and give the error."""
    ran: list[State] = []
    with pytest.raises(RunInProgressError) as info:
        door(flow(path, ran.append))
    assert ran == []
    return info.value


def test_owner_in_this_process_is_named(door: Door, tmp_path: Path) -> None:
    """A second run inside of a step of the first is refused, and told who is running."""
    path = tmp_path / "c.pkl"
    errors: list[RunInProgressError] = []
    began = datetime.now(UTC).replace(microsecond=0)
    inner = flow(path, lambda state: errors.append(refuse_in_thread(door, path)))
    door(inner)
    error = errors[0]
    assert (error.path, error.pid, error.host) == (str(path), os.getpid(), socket.gethostname())
    assert error.since is not None
    assert began <= datetime.fromisoformat(error.since) <= datetime.now(UTC)
    for fact in (str(path), str(os.getpid()), socket.gethostname(), error.since, "wait="):
        assert fact in str(error)


def refuse_in_thread(door: Door, path: Path) -> RunInProgressError:
    """Do as `refuse`, in a thread of its own, where no loop runs."""
    found: list[RunInProgressError] = []
    thread = threading.Thread(target=lambda: found.append(refuse(door, path)))
    thread.start()
    thread.join()
    return found[0]


def test_owner_in_another_process_is_named(door: Door, tmp_path: Path) -> None:
    """A second run in another process is refused at once, and told who is running."""
    path = tmp_path / "c.pkl"
    with contender(path, "hold", "held") as other:
        error = refuse(door, path)
        assert (error.pid, error.host) == (other.process.pid, socket.gethostname())
        other.tell("end")
        assert other.answer() == "ended"
        assert door(flow(path)) == {"pid": other.process.pid}


def test_killed_owner_frees_the_place_at_once(door: Door, tmp_path: Path) -> None:
    """When the owner is killed, the next run begins without waiting, and resumes."""
    path = tmp_path / "c.pkl"
    with contender(path, "hold", "held") as other:
        refuse(door, path)
        other.kill()
        resumed = flow(path)
        assert not resumed.plan().fresh
        assert door(resumed) == {"pid": other.process.pid}


def test_waiting_run_begins_when_the_owner_ends(door: Door, tmp_path: Path) -> None:
    """With `wait=` a run begins when the other has ended, with what that one left."""
    path = tmp_path / "c.pkl"
    with contender(path, "hold", "held") as other:
        timer = threading.Timer(0.2, other.tell, ["end"])
        timer.start()
        assert door(flow(path), wait=PATIENCE) == {"pid": other.process.pid}
        assert other.answer() == "ended"
        timer.join()


def test_waiting_run_begins_when_the_owner_is_killed(door: Door, tmp_path: Path) -> None:
    """With `wait=` a run begins when the other has been killed."""
    path = tmp_path / "c.pkl"
    with contender(path, "hold", "held") as other:
        timer = threading.Timer(0.2, other.process.kill)
        timer.start()
        assert door(flow(path), wait=PATIENCE) == {"pid": other.process.pid}
        timer.join()


def test_waiting_has_an_end(door: Door, tmp_path: Path) -> None:
    """When the other run does not end in time, the error names it all the same."""
    path = tmp_path / "c.pkl"
    with contender(path, "hold", "held") as other, pytest.raises(RunInProgressError) as info:
        door(flow(path), wait=0.12)
    assert info.value.pid == other.process.pid


async def test_tasks_of_one_loop_exclude_each_other(tmp_path: Path) -> None:
    """Of many tasks that start one run, one runs; those that wait run one after another."""
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
    busy = [result for result in results if isinstance(result, RunInProgressError)]
    assert len(busy) == len(results) - 1
    waiting = await asyncio.gather(*(cp.arun({}, wait=PATIENCE) for _ in range(20)))
    assert waiting == [{}] * 20


async def test_run_ids_do_not_exclude_each_other(tmp_path: Path) -> None:
    """Runs of other ids, and the one without, go on side by side."""
    together = asyncio.Barrier(3)
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    async def meet(state: State) -> None:
        async with asyncio.timeout(PATIENCE):
            await together.wait()

    await asyncio.gather(cp.arun({}), cp.arun({}, run_id="x"), cp.arun({}, run_id="y"))


@pytest.mark.parametrize("way", ["relative", "dotted", "linked-directory", "linked-file"])
@posix_only
def test_place_by_another_name_is_the_same_place(way: str, door: Door, tmp_path: Path) -> None:
    """However a path is written, its file has one run at a time."""
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
    with contender(path, "hold", "held"):
        refuse(door, other)


@pytest.mark.parametrize("name", ["reset", "write"])
def test_other_changes_are_refused_meanwhile(name: str, door: Door, tmp_path: Path) -> None:
    """Nobody may delete or patch a checkpoint under a run; reading and planning is free."""
    path = tmp_path / "c.pkl"
    cp = flow(path)
    with contender(path, "hold", "held") as other:
        before = path.read_bytes()
        with pytest.raises(RunInProgressError):
            if name == "reset":
                door.reset(cp)
            else:
                door.write(cp.handler, {"checkpoint_index": 0})
        assert path.read_bytes() == before
        assert door.read(cp.handler) == {"pid": other.process.pid, "checkpoint_index": 0}
        assert door.plan(cp).start == 0


@posix_only
@pytest.mark.parametrize("kind", ["to-a-file", "to-nothing", "to-itself"])
def test_link_in_place_of_the_lock_is_refused(kind: str, door: Door, tmp_path: Path) -> None:
    """A symbolic link is never followed: its target is neither written nor made nor deleted."""
    lock = lock_file(tmp_path)
    target = lock if kind == "to-itself" else tmp_path / "target"
    if kind == "to-a-file":
        target.write_text("precious", encoding="ascii")
    lock.symlink_to(target)
    ran: list[State] = []
    with pytest.raises(StorageError, match="c\\.pkl"):
        door(flow(tmp_path / "c.pkl", ran.append))
    assert ran == []
    assert lock.is_symlink()
    assert not (tmp_path / "c.pkl").exists()
    if kind == "to-a-file":
        assert target.read_text(encoding="ascii") == "precious"
    elif kind == "to-nothing":
        assert not target.exists()
    lock.unlink()


def test_foreign_file_in_place_of_the_lock_is_refused(door: Door, tmp_path: Path) -> None:
    """Somebody's file that bears the lock's name is neither emptied nor deleted."""
    lock = lock_file(tmp_path)
    lock.write_text("precious", encoding="ascii")
    with pytest.raises(StorageError, match=lock.name):
        door(flow(tmp_path / "c.pkl"))
    assert lock.read_text(encoding="ascii") == "precious"
    lock.unlink()


@pytest.mark.parametrize("content", [b"", b'{"pid": 1, "host": "x", "since": "y"}', b'{"pid": '])
def test_lock_file_of_a_dead_owner_locks_nobody_out(
    content: bytes, door: Door, tmp_path: Path
) -> None:
    """A lock file that nobody holds, whole or half-written, is taken over and cleared."""
    lock = lock_file(tmp_path)
    lock.write_bytes(content)
    assert door(flow(tmp_path / "c.pkl"), {"n": 1}) == {"n": 1}
    assert not lock.exists()


@posix_only
def test_lock_file_is_private(tmp_path: Path) -> None:
    """Only the user may open the lock file; who may open it could hold the run up."""
    modes: list[int] = []
    place = tmp_path / "c.pkl"

    def step(state: State) -> None:
        modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob("*.lock"))

    flow(place, step).run()
    assert modes == [0o600]


@posix_only
def test_lock_file_removed_by_hand(lab: Lab) -> None:
    """A run whose lock file was removed ends well, and leaves the next owner's lock alone."""
    place = lab.path.parent
    with contender(lab.path, "hold", "held") as first:
        next(iter(place.glob("*.lock"))).unlink()
        with contender(lab.path, "hold", "held") as second:
            first.tell("end")
            assert first.answer() == "ended"
            with pytest.raises(RunInProgressError) as info:
                lab.flow().run()
            assert info.value.pid == second.process.pid
            second.tell("end")
            assert second.answer() == "ended"


@pytest.mark.parametrize("wait", [0.0, PATIENCE], ids=["refused", "waiting"])
def test_racing_processes_run_one_at_a_time(wait: float, tmp_path: Path) -> None:
    """Two processes released together, again and again: never both inside, and one gets in."""
    path = tmp_path / "c.pkl"
    with contender(path) as one, contender(path) as two:
        both = (one, two)
        for _ in range(ROUNDS):
            for each in both:
                each.tell(f"once {wait}")
            answers = [each.answer() for each in both]
            assert "ran" in answers
            known = {"ran", *(f"busy {each.process.pid}" for each in both), "busy None"}
            assert set(answers) <= ({"ran"} if wait else known)


def test_lock_changes_hands_a_thousand_times(tmp_path: Path) -> None:
    """However release and taking overlap, nobody holds the lock of a file that is gone."""
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


@posix_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_does_not_hold_the_lock(door: Door, tmp_path: Path) -> None:
    """A child that was forked in a step and outlives the killed owner holds nothing."""
    path = tmp_path / "c.pkl"
    command = [sys.executable, FORKING, "outlive", door.name, path]
    ended = subprocess.run(command, timeout=PATIENCE, check=False)
    child = int(path.with_name("child").read_text(encoding="ascii"))
    try:
        assert ended.returncode == -signal.SIGKILL
        assert door(flow(path), checkpoint=0) == {"trail": ["a"]}
    finally:
        os.kill(child, signal.SIGKILL)
