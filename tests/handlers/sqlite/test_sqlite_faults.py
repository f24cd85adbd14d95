"""A database on a full disk, in a read-only directory, or deleted during a run."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from resource_limits import limit, mount

from aiocheckpoint import CheckpointFlow, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

__all__ = ["mount"]  # the fixture
PATIENCE = 30.0


def make_flow(path: Path, ran: list[str], corrupt: Callable[[], object]) -> CheckpointFlow:
    """Make a flow of three steps, whose second one calls a fault."""
    cp = CheckpointFlow(path, "sqlite")

    @cp.add_step()
    def a(state: dict[str, Any]) -> None:
        ran.append("a")
        state["trail"] = ["a"]

    @cp.add_step()
    def b(state: dict[str, Any]) -> None:
        ran.append("b")
        state["trail"] = ["a", "b"]
        state["rows"] = os.urandom(300_000)
        corrupt()

    @cp.add_step()
    def c(state: dict[str, Any]) -> None:
        ran.append("c")
        del state["rows"]

    return cp


def check_fails(
    path: Path, runner: Runner, corrupt: Callable[[], object], number: int | None
) -> None:
    """Run a flow whose second step calls a fault, and check that the snapshot after it fails."""
    with pytest.raises(StorageError) as info:
        runner(make_flow(path, [], corrupt), {}, run_id="x")
    assert info.value.errno == number
    assert info.value.path == str(path)


def check_resumes(path: Path, runner: Runner) -> None:
    """Check that no acknowledged step was lost, and that the run resumes."""
    ran: list[str] = []
    cp = make_flow(path, ran, lambda: None)
    assert cp.read("x") == {"trail": ["a"], "checkpoint_index": 1}
    assert runner(cp, run_id="x") == {"trail": ["a", "b"]}
    assert ran == ["b", "c"]


def await_closed(path: Path) -> None:
    """Wait until the writer of a collected flow has closed the database."""
    deadline = time.monotonic() + PATIENCE
    while any("-owner-" in one.name for one in path.parent.iterdir()):
        assert time.monotonic() < deadline, "the database stays open"
        gc.collect()
        time.sleep(0.01)


@pytest.mark.root
@pytest.mark.leaves_files
def test_full_disk(runner: Runner, mount: Callable[..., Path]) -> None:
    """A full disk loses nothing. The run resumes when the disk has space."""
    path = mount("-t", "tmpfs", "-o", "size=2m", "none") / "runs.db"
    filling = path.with_name("filling")

    def fill() -> None:
        with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    check_fails(path, runner, fill, errno.ENOSPC)
    filling.unlink()
    check_resumes(path, runner)
    await_closed(path)


@pytest.mark.root
def test_read_only_disk(runner: Runner, mount: Callable[..., Path], tmp_path: Path) -> None:
    """On a read-only disk nothing runs. The run resumes when the disk is writable."""
    real, ran = tmp_path / "real", list[str]()
    real.mkdir()
    place = mount("--bind", real)
    with pytest.raises(ZeroDivisionError):
        runner(make_flow(place / "runs.db", [], lambda: 1 // 0), {}, run_id="x")
    await_closed(place / "runs.db")
    mount("-o", "remount,bind,ro")
    with pytest.raises(StorageError) as info:
        runner(make_flow(place / "runs.db", ran, lambda: None), run_id="x")
    assert ran == []
    assert info.value.errno in {errno.EROFS, None}  # SQLite does not always report it
    gc.collect()
    check_resumes(real / "runs.db", runner)


def test_limit_of_a_files_size(runner: Runner, tmp_path: Path) -> None:
    """A file size limit reached within a transaction loses no stored snapshot."""
    path = tmp_path / "runs.db"
    with limit("RLIMIT_FSIZE") as lower, pytest.raises(StorageError) as info:
        runner(make_flow(path, [], lambda: lower(200_000)), {}, run_id="x")
    assert info.value.path == str(path)
    check_resumes(path, runner)


def test_out_of_descriptors_at_opening(runner: Runner, tmp_path: Path) -> None:
    """Without free descriptors the database cannot be opened, and nothing runs."""
    path, ran, taken = tmp_path / "runs.db", list[str](), list[int]()
    cp = make_flow(path, ran, lambda: None)
    other = make_flow(tmp_path / "other.db", [], lambda: None)
    assert runner(other, {}) == {"trail": ["a", "b"]}
    other.handler.close()
    with limit("RLIMIT_NOFILE") as lower:
        lower(100)
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(3 if runner.name == "arun" else 0):  # the loop takes as many
            os.close(taken.pop())
        with pytest.raises(StorageError) as info:
            runner(cp, {}, run_id="x")
    for descriptor in taken:
        os.close(descriptor)
    assert (ran, info.value.path) == ([], str(path))
    assert runner(cp, {}, run_id="x") == {"trail": ["a", "b"]}


@pytest.mark.leaves_files
@pytest.mark.parametrize("gone", ["file", "directory"])
def test_database_deleted_meanwhile(gone: str, runner: Runner, tmp_path: Path) -> None:
    """A database deleted during a run is an error, and the next run starts afresh."""
    path = tmp_path / "place" / "runs.db"

    def delete() -> None:
        if gone == "file":
            path.unlink()
        else:
            shutil.rmtree(path.parent)

    with pytest.raises(StorageError, match=r"runs\.db"):
        runner(make_flow(path, [], delete), {}, run_id="x")
