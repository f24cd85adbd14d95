"""Foreign changes of the lock file, and lock files that outlive their owner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program
from lock_processes import PATIENCE, flow, lock_process

from aiocheckpoint import RunInProgressError, StorageError
from aiocheckpoint.handlers._files.lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from support import FlowFactory, Runner, State

FORKING = program("fork_in_run_script.py")

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def lock_file(tmp_path: Path) -> Path:
    """Find the lock file of `c.pkl` while a run holds it."""
    found: list[Path] = []
    flow(tmp_path / "c.pkl", lambda state: found.extend(tmp_path.glob("*.lock"))).run()
    flow(tmp_path / "c.pkl").reset()
    assert len(found) == 1
    return found[0]


@posix_only
@pytest.mark.parametrize("kind", ["to-a-file", "to-nothing", "to-itself"])
def test_link_instead_of_the_lock_is_refused(kind: str, runner: Runner, tmp_path: Path) -> None:
    """A symbolic link is never followed: its target is neither written, made nor deleted."""
    lock = lock_file(tmp_path)
    target = lock if kind == "to-itself" else tmp_path / "target"
    if kind == "to-a-file":
        target.write_text("precious", encoding="ascii")
    lock.symlink_to(target)
    ran: list[State] = []
    with pytest.raises(StorageError, match="c\\.pkl"):
        runner(flow(tmp_path / "c.pkl", ran.append))
    assert ran == []
    assert lock.is_symlink()
    assert not (tmp_path / "c.pkl").exists()
    if kind == "to-a-file":
        assert target.read_text(encoding="ascii") == "precious"
    elif kind == "to-nothing":
        assert not target.exists()
    lock.unlink()


def test_foreign_file_instead_of_the_lock_is_refused(runner: Runner, tmp_path: Path) -> None:
    """A foreign file with the lock's name is neither emptied nor deleted."""
    lock = lock_file(tmp_path)
    lock.write_text("precious", encoding="ascii")
    with pytest.raises(StorageError, match=lock.name):
        runner(flow(tmp_path / "c.pkl"))
    assert lock.read_text(encoding="ascii") == "precious"
    lock.unlink()


@pytest.mark.parametrize("content", [b"", b'{"pid": 1, "host": "x", "since": "y"}', b'{"pid": '])
def test_lock_file_of_a_dead_owner_locks_nobody_out(
    content: bytes, runner: Runner, tmp_path: Path
) -> None:
    """A lock file without an owner, whole or half-written, is taken over and deleted."""
    lock = lock_file(tmp_path)
    lock.write_bytes(content)
    assert runner(flow(tmp_path / "c.pkl"), {"n": 1}) == {"n": 1}
    assert not lock.exists()


@posix_only
def test_lock_file_is_private(tmp_path: Path) -> None:
    """Only the user may open the lock file, since anyone who opens it could block the run."""
    modes: list[int] = []
    place = tmp_path / "c.pkl"

    def step(state: State) -> None:
        modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob("*.lock"))

    flow(place, step).run()
    assert modes == [0o600]


@posix_only
def test_lock_file_removed_by_hand(flows: FlowFactory) -> None:
    """A run whose lock file was deleted writes nothing, and leaves the next owner's lock alone."""
    place = flows.path.parent
    with lock_process(flows.path, "hold", "held") as first:
        next(iter(place.glob("*.lock"))).unlink()
        with lock_process(flows.path, "hold", "held") as second:
            first.send("end")
            assert first.answer() == "lost"
            with pytest.raises(RunInProgressError) as info:
                flows.flow().run()
            assert info.value.pid == second.process.pid
            second.send("end")
            assert second.answer() == "ended"
        assert flows.stored()["pid"] == second.process.pid


@posix_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_does_not_hold_the_lock(runner: Runner, tmp_path: Path) -> None:
    """A child forked in a step does not hold the lock after its parent was killed."""
    path = tmp_path / "c.pkl"
    command = [sys.executable, str(FORKING), "outlive", runner.name, str(path)]
    ended = subprocess.run(command, timeout=PATIENCE, check=False)
    child = int(path.with_name("child").read_text(encoding="ascii"))
    try:
        assert ended.returncode == -signal.SIGKILL
        assert runner(flow(path), checkpoint=0) == {"trail": ["a"]}
    finally:
        os.kill(child, signal.SIGKILL)


KILLED = """
import os, signal, sys
from aiocheckpoint.handlers._files.lock import FileLock

def write(*args):
    os.kill(os.getpid(), signal.SIGKILL)

lock = FileLock(sys.argv[1], "x")
if sys.argv[2] == "writing":
    os.write = write
lock.acquire()
write()
"""


@posix_only
def test_owner_killed_as_it_inherits(tmp_path: Path) -> None:
    """An owner killed before it wrote its name leaves a lock file without an owner."""
    path = tmp_path / "file"
    for moment in ("holding", "writing", "writing"):
        command = [sys.executable, "-c", KILLED, str(path), moment]
        ended = subprocess.run(command, timeout=PATIENCE, check=False)
        assert ended.returncode == -signal.SIGKILL
    lock = FileLock(str(path), "x")
    lock.acquire()
    lock.release()
    assert lock.inherited


@posix_only
@pytest.mark.parametrize("end", ["forget", "release"])
def test_number_that_belongs_to_another_file(end: str, tmp_path: Path) -> None:
    """An end of the lock that was interrupted behind its close closes no other file later."""
    lock = FileLock(str(tmp_path / "lock"), "x")
    lock.acquire()
    file = lock._file  # noqa: SLF001 - as it is after such an interruption
    assert file is not None
    number = file.fileno()
    file.close()
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() == number
        getattr(lock, end)()
        other.write(b"open")
    assert (tmp_path / "other").read_bytes() == b"open"
    assert not lock.held
    (tmp_path / "lock").unlink(missing_ok=True)


@posix_only
def test_interrupted_behind_its_close(tmp_path: Path) -> None:
    """Ctrl-C behind the close of a lock file takes no lock from the next owner in this process.

    File systems use the number of a deleted file again, and processes that of a closed one.
    """
    path = str(tmp_path / "lock")
    lock, other, third = (FileLock(path, "x") for _ in range(3))

    def interrupt(_: FrameType, event: str, function: object) -> None:
        if event == "c_return" and getattr(function, "__name__", "") == "close":
            sys.setprofile(None)
            other.acquire()
            raise KeyboardInterrupt

    lock.acquire()
    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        lock.release()
    sys.setprofile(None)
    lock.release()  # as the engine does after an interruption
    other.check()
    with pytest.raises(RunInProgressError):
        third.acquire()
    other.release()
    assert list(tmp_path.iterdir()) == []


LONG = b'{"pid": 1, "host": "%b", "since": "y"}\n' % (b"x" * 500)


def test_only_a_left_file_is_inherited(tmp_path: Path) -> None:
    """A lock is inherited if its file has the name of an owner before. That name is replaced."""
    path = tmp_path / "lock"
    lock, own = FileLock(str(path), "x"), list[bytes]()
    for content, inherited in ((None, False), (b"", False), (LONG, True), (None, False)):
        if content is not None:
            path.write_bytes(content)
        lock.acquire()
        own.append(path.read_bytes())
        assert lock.inherited is inherited
        lock.release()
        assert not path.exists()
    assert {content.count(b"\n") for content in own} == {1}
    assert {json.loads(content)["pid"] for content in own} == {os.getpid()}
