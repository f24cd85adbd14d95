"""`lock="lease"`: renewed lock files where the kernel has no locks. Who is gone, and who lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from lock_processes import PATIENCE, LockProcess, lock_process

from aiocheckpoint import (
    CheckpointFlow,
    LeaseLostError,
    LocalStateHandler,
    RunInProgressError,
    StorageError,
)
from aiocheckpoint.handlers._files.heartbeats import stop_beating
from aiocheckpoint.handlers._files.lease_owner import LeaseOwner, parse_owner, this_process
from aiocheckpoint.handlers.local import _run_lock

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner, State

    from aiocheckpoint.handlers._files.lease_lock import LeaseLock

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110
LEASE = 0.4
TOKEN = "0123456789abcdef"  # noqa: S105 - names an owner


def make_flow(path: Path, lease: float = LEASE) -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow(path, fsync=False, lock="lease", lease=lease)
    cp.add_step(name="only")(lambda state: state.update(done=True))
    return cp


def lock_of(path: Path) -> Path:
    """The lock file of a run's file."""
    return path.with_name(f".{path.name}.lock")


def elsewhere(lease: float = LEASE) -> LeaseOwner:
    """An owner on another machine."""
    return replace(this_process(lease, TOKEN), host="elsewhere", boot="another", pid=1)


def gone_here() -> LeaseOwner:
    """An owner of this machine whose process has ended, its number in use again."""
    return replace(this_process(30.0, TOKEN), started="1")


def put_lock(path: Path, owner: LeaseOwner | None) -> None:
    """Leave the lock file of an owner."""
    lock_of(path).write_bytes(b"" if owner is None else owner.encoded())


@needs_proc
def test_killed_owner_is_succeeded_at_once(tmp_path: Path, runner: Runner) -> None:
    """A lease of 30 s is not waited for where the owner's process has provably ended."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=30) as other:
        with pytest.raises(RunInProgressError) as info:
            runner(make_flow(path, 30))
        assert info.value.pid == other.process.pid
        assert info.value.lease_left is None
        other.kill()
        assert runner(make_flow(path, 30))["done"]
    assert [one.name for one in tmp_path.iterdir()] == ["c.pkl"]


@needs_proc
def test_killed_and_not_waited_for(tmp_path: Path) -> None:
    """A process that has ended is gone, also while its parent has not asked for its status."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=30) as other:
        os.kill(other.process.pid, signal.SIGKILL)
        assert make_flow(path, 30).run(wait=20)["done"]


def test_suspended_owner_that_nobody_succeeded_goes_on(tmp_path: Path) -> None:
    """An owner that wakes late keeps a run that no one has taken."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=0.2) as other:
        other.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        other.process.send_signal(signal.SIGCONT)
        other.send("end")
        assert other.answer() == "ended"


def test_living_owner_keeps_its_run(tmp_path: Path) -> None:
    """No one takes the run of an owner whose beats come, however long it takes."""
    path, lease = tmp_path / "c.pkl", 2.0  # A busy machine delays beats.
    with lock_process(path, "hold", "held", lease=lease) as other:
        with pytest.raises(RunInProgressError):
            make_flow(path, lease).run(wait=1.5 * lease)
        other.send("end")
        assert other.answer() == "ended"


@pytest.mark.parametrize("owner", [elsewhere(), None], ids=["elsewhere", "empty"])
def test_owner_without_beats_is_watched(
    owner: LeaseOwner | None, tmp_path: Path, runner: Runner
) -> None:
    """An owner on another machine loses its run after a lease without beats, on our own clock."""
    path = tmp_path / "c.pkl"
    put_lock(path, owner)
    os.utime(lock_of(path), (0, 0))  # No time of another clock is believed.
    began = time.monotonic()
    with pytest.raises(RunInProgressError) as info:
        runner(make_flow(path))
    assert info.value.host == (None if owner is None else "elsewhere")
    assert runner(make_flow(path), wait=PATIENCE)["done"]
    assert time.monotonic() - began > LEASE


def test_two_looks_are_not_enough(tmp_path: Path) -> None:
    """A long time between two looks counts as a third of a lease: nobody may have been able."""
    path = tmp_path / "c.pkl"
    put_lock(path, elsewhere(0.1))
    for _ in range(4):
        with pytest.raises(RunInProgressError):
            make_flow(path, 0.1).run()
        time.sleep(0.2)
    assert make_flow(path, 0.1).run()["done"]


@pytest.mark.parametrize("change", ["beat", "time", "file"])
def test_any_sign_of_life_counts(change: str, tmp_path: Path) -> None:
    """A new number, a new time or a new file begins the watch anew."""
    path = tmp_path / "c.pkl"
    owner, ends = elsewhere(0.8), threading.Event()
    put_lock(path, owner)

    def live() -> None:
        beats = owner
        while not ends.wait(0.05):
            beats = beats.next()
            if change == "time":
                os.utime(lock_of(path))
            elif change == "beat":
                put_lock(path, beats)
            else:
                (tmp_path / "new").write_bytes(owner.encoded())
                (tmp_path / "new").replace(lock_of(path))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(RunInProgressError):
            make_flow(path, 0.8).run(wait=1.2)
    finally:
        ends.set()
        thread.join()
        lock_of(path).unlink()


def race(one: LockProcess, other: LockProcess) -> None:
    """Let two processes take one lock at the same moment: exactly one gets it, and releases it."""
    moment = time.monotonic() + 0.02
    for process in (one, other):
        process.send(f"race {moment}")
    answers = [process.answer() for process in (one, other)]
    assert sorted(answer.split()[0] for answer in answers) == ["busy", "held"], answers
    winner = one if answers[0] == "held" else other
    winner.send("end")
    assert winner.answer() == "ended"


def race_for(path: Path, rounds: int, owner: LeaseOwner) -> None:
    """Let two processes take one dead owner's lock at the same moment, again and again."""
    with lock_process(path, lease=30) as one, lock_process(path, lease=30) as other:
        for _ in range(rounds):
            put_lock(path, owner)
            race(one, other)


@needs_proc
def test_one_of_two_takes_over(tmp_path: Path) -> None:
    """Of two that find an owner gone at the same moment, exactly one runs."""
    race_for(tmp_path / "c.pkl", 30, gone_here())


@needs_proc
@pytest.mark.torture
def test_one_of_two_takes_over_often(tmp_path: Path) -> None:
    """The same, two thousand times."""
    race_for(tmp_path / "c.pkl", 2000, gone_here())


def test_one_of_two_begins(tmp_path: Path) -> None:
    """Of two that find no lock at all, exactly one runs."""
    path = tmp_path / "c.pkl"
    with lock_process(path, lease=30) as one, lock_process(path, lease=30) as other:
        for _ in range(20):
            race(one, other)


@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("keep", [1, 3])
def test_suspended_between_look_and_rename(
    keep: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fsync: bool,
) -> None:
    """An owner that sleeps between its look at the lock and its rename still replaces nothing."""
    path = tmp_path / "c.pkl"
    handler = LocalStateHandler(path, fsync=fsync, keep=keep, lock="lease", lease=LEASE)
    handler.write({"n": 1})
    look, stored = _run_lock.RunLock.check, b""

    def sleep_after(lock: _run_lock.RunLock) -> None:
        nonlocal stored
        look(lock)
        monkeypatch.setattr(_run_lock.RunLock, "check", look)
        owner = parse_owner(lock_of(path).read_bytes())
        assert owner is not None
        put_lock(path, replace(owner, boot="another"))  # As other machines see it.
        stop_beating(cast("LeaseLock", lock._lock))  # noqa: SLF001
        with lock_process(path, lease=LEASE) as other:
            other.send(f"once {PATIENCE}")
            assert other.answer() == "ran"
        stored = path.read_bytes()

    monkeypatch.setattr(_run_lock.RunLock, "check", sleep_after)
    with pytest.raises(LeaseLostError):
        handler.write({"n": 2})
    assert path.read_bytes() == stored


def test_interrupted_successor_is_cleared(tmp_path: Path) -> None:
    """A successor that was killed in the midst of taking over does not block the run for ever."""
    path = tmp_path / "c.pkl"
    put_lock(path, elsewhere(0.2))
    (tmp_path / f".c.pkl.{TOKEN}.tmp").write_bytes(b"")
    assert make_flow(path, 0.2).run(wait=PATIENCE)["done"]
    assert [one.name for one in tmp_path.iterdir()] == ["c.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"lease": 1e-9, "token": "../../x"}',
        elsewhere().encoded().replace(TOKEN.encode(), b"../../../../../x"),
        elsewhere().encoded().replace(b'"lease": 0.4', b'"lease": -9.'),
        b"\xff" * 100,
        b'{"pid": 1, "host": "x", "since": "x"}',
    ],
)
def test_odd_lock_file(content: bytes, tmp_path: Path) -> None:
    """A lock file with odd content counts as an unknown owner's, for this process's own lease."""
    path = tmp_path / "c.pkl"
    lock_of(path).write_bytes(content)
    with pytest.raises(RunInProgressError, match="unknown process"):
        make_flow(path).run()
    assert make_flow(path).run(wait=PATIENCE)["done"]


def test_no_file_in_its_place(tmp_path: Path) -> None:
    """A FIFO or directory in place of the lock file is refused at once, and stays."""
    path = tmp_path / "c.pkl"
    os.mkfifo(lock_of(path))
    with pytest.raises(StorageError, match="no regular file"):
        make_flow(path).run()
    lock_of(path).unlink()
    lock_of(path).mkdir()
    with pytest.raises(StorageError, match="no regular file"):
        make_flow(path).run()
    lock_of(path).rmdir()


def test_kernel_lock_names_the_other_kind(tmp_path: Path) -> None:
    """A process with the kernel's locks is told of the renewed file, and deletes it not."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=LEASE) as other:
        with pytest.raises(StorageError, match="same lock="):
            CheckpointFlow(path).handler.write({})
        assert CheckpointFlow(f"{tmp_path}/").runs() == []
        other.send("end")
        assert other.answer() == "ended"


def test_forked_child_owns_nothing(tmp_path: Path) -> None:
    """A forked child neither writes nor renews, and the parent keeps its lock."""
    path = tmp_path / "c.pkl"
    handler = LocalStateHandler(path, fsync=False, lock="lease", lease=1.5)
    with handler.locked() as lock:
        child = os.fork()
        if not child:
            os._exit(int(lock.held))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert lock.held
        with pytest.raises(RunInProgressError):
            make_flow(path).run(wait=2.0)


@needs_proc
def test_runs_of_a_killed_process_are_resumed(tmp_path: Path) -> None:
    """`aresume_all` takes runs of a process that was killed, in a directory of many."""
    place = tmp_path / "runs"
    place.mkdir()
    path = place / "c.pkl"

    async def resume() -> list[State]:
        cp = CheckpointFlow(path, fsync=False, lock="lease")
        cp.add_step(name="stay")(lambda state: state.update(resumed=True))
        return [dict(result.state or {}) async for result in cp.aresume_all()]

    other = LockProcess(path, 30)
    other.send("hold")
    assert other.answer() == "held"
    assert asyncio.run(resume()) == []
    pid = other.process.pid
    other.kill()
    other.close()
    assert asyncio.run(resume()) == [{"pid": pid, "resumed": True}]
