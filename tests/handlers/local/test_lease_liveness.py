"""`lock="lease"` on one machine: an owner that is seen to live keeps its run, a stopped one not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, cast

import pytest
from lease_owners import process, suspend, wake
from lock_processes import PATIENCE, lock_process

from aiocheckpoint import CheckpointFlow, LocalStateHandler, RunInProgressError
from aiocheckpoint.handlers._files.heartbeats import stop_beating

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

    from aiocheckpoint.handlers._files.lease_lock import LeaseLock
    from aiocheckpoint.handlers.local._run_lock import RunLock

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110
LEASE = 0.4


def make_flow(path: Path, lease: float = LEASE) -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow(path, fsync=False, lock="lease", lease=lease)
    cp.add_step(name="only")(lambda state: state.update(done=True))
    return cp


def lock_of(path: Path) -> Path:
    """The lock file of a run's file."""
    return path.with_name(f".{path.name}.lock")


@needs_proc
def test_suspended_owner_loses(tmp_path: Path, runner: Runner) -> None:
    """An owner stopped for its lease loses the run. When it wakes, it writes nothing."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=LEASE) as other:
        suspend(other.process.pid)
        with pytest.raises(RunInProgressError) as info:
            runner(make_flow(path))
        assert 0 < (info.value.lease_left or 0) <= LEASE
        assert runner(make_flow(path), wait=PATIENCE)["done"]
        stored = path.read_bytes()
        wake(other.process.pid)
        other.send("end")
        assert other.answer() == "lost"
        assert path.read_bytes() == stored
    assert [one.name for one in tmp_path.iterdir()] == ["c.pkl"]


@needs_proc
def test_two_looks_at_a_suspended_owner(tmp_path: Path) -> None:
    """Two looks, a lease apart, take the run of an owner that stayed stopped in between."""
    path = tmp_path / "c.pkl"
    with lock_process(path, "hold", "held", lease=LEASE) as other:
        for woken in (True, False):
            suspend(other.process.pid)
            with pytest.raises(RunInProgressError):
                make_flow(path).run()
            time.sleep(1.2 * LEASE)
            if woken:
                wake(other.process.pid)
        assert make_flow(path).run()["done"]
        wake(other.process.pid)
        other.send("end")
        assert other.answer() == "lost"


@needs_proc
def test_held_interpreter(tmp_path: Path) -> None:
    """An owner whose interpreter is held for longer than the lease keeps its run."""
    path = tmp_path / "c.pkl"
    with process("held_interpreter_script.py", path, LEASE, 5 * LEASE) as other:
        assert other.first == "held"
        with pytest.raises(RunInProgressError) as info:
            make_flow(path).run(wait=3 * LEASE)
        assert info.value.lease_left is None
        assert other.end() == "done"


@needs_proc
def test_owner_without_a_heartbeat(tmp_path: Path) -> None:
    """A living process of this machine keeps its run, though it renews no file."""
    handler = LocalStateHandler(tmp_path / "c.pkl", fsync=False, lock="lease", lease=0.1)
    with handler.locked() as lock:
        stop_beating(cast("LeaseLock", cast("RunLock", lock)._lock))  # noqa: SLF001
        with lock_process(tmp_path / "c.pkl", lease=0.1) as other:
            other.send("once 0.6")
            assert other.answer() == f"busy {os.getpid()}"
        assert lock.held


def test_lock_file_that_cannot_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A released file that cannot be deleted names no owner, and is succeeded after a lease."""
    path = tmp_path / "c.pkl"

    def refuse(_: object) -> None:
        raise PermissionError  # Root, as which tests may run, is refused nothing.

    with LocalStateHandler(path, fsync=False, lock="lease", lease=0.1).locked():
        monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.undo()
    assert lock_of(path).read_bytes() == b""
    assert make_flow(path, 0.1).run(wait=PATIENCE)["done"]
