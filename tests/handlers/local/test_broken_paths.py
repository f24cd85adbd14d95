"""Full or read-only disks, resource limits, and directories that change during a run."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from power_rounds import disk
from resource_limits import limit, mount
from support import FlowFactory, Runner, State

from aiocheckpoint import (
    CheckpointFlow,
    LeaseLostError,
    LocalStateHandler,
    StorageError,
    adopt,
    adopt_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from power import Disk

__all__ = ["disk", "mount"]  # the fixtures


def check_step_fails(
    flows: FlowFactory, runner: Runner, corrupt: Callable[[], None], number: int
) -> StorageError:
    """Run a flow whose second step runs a fault, and check that the snapshot after it fails."""

    def step(state: State) -> None:
        state["rows"] = "x" * 300_000
        corrupt()

    cp = flows.flow("a")
    cp.add_step(name="b")(step)
    with pytest.raises(StorageError) as info:
        runner(cp, {})
    assert info.value.errno == number
    assert info.value.path == str(flows.path)
    return info.value


def check_resumes(flows: FlowFactory, runner: Runner) -> None:
    """Check that the state before the second step is stored, and that the run resumes from it."""
    assert flows.stored() == {"loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert sorted(path.name for path in flows.path.parent.iterdir()) == ["checkpoint.pkl"]
    flows.log.clear()
    assert runner(flows.flow("a", "b"))["trail"] == ["a", "b"]
    assert flows.ran() == ["b"]


@pytest.mark.parametrize("size", [1, 5000, 299_999])
def test_limit_of_a_files_size(size: int, runner: Runner, flows: FlowFactory) -> None:
    """A short write at the file size limit is an error, and never half a snapshot."""
    with limit("RLIMIT_FSIZE") as lower:
        check_step_fails(flows, runner, lambda: lower(size), errno.EFBIG)
    check_resumes(flows, runner)


def test_out_of_descriptors(runner: Runner, flows: FlowFactory) -> None:
    """Without free descriptors a run fails with an error that says so, and resumes later."""
    taken: list[int] = []

    def take_all() -> None:
        lower(100)
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    with limit("RLIMIT_NOFILE") as lower:
        check_step_fails(flows, runner, take_all, errno.EMFILE)
    for descriptor in taken:
        os.close(descriptor)
    check_resumes(flows, runner)


@pytest.mark.root
def test_full_disk(runner: Runner, mount: Callable[..., Path]) -> None:
    """A full disk keeps the old snapshot. The run resumes when the disk has space."""
    flows = FlowFactory(mount("-t", "tmpfs", "-o", "size=128k", "none") / "checkpoint.pkl")
    check_step_fails(flows, runner, lambda: None, errno.ENOSPC)
    check_resumes(flows, runner)


@pytest.mark.root
@pytest.mark.leaves_files
def test_disk_turned_read_only(runner: Runner, mount: Callable[..., Path], tmp_path: Path) -> None:
    """A disk that turns read-only during a run is an error. The old snapshot stays readable."""
    real = tmp_path / "real"
    real.mkdir()
    flows = FlowFactory(mount("--bind", real) / "checkpoint.pkl")

    def turn() -> None:
        mount("--bind", real)
        mount("-o", "remount,bind,ro")

    check_step_fails(flows, runner, turn, errno.EROFS)
    assert flows.stored()["checkpoint_index"] == 1
    mount("--bind", real)
    assert runner(flows.flow("a", "b"))["trail"] == ["a", "b"]
    assert sorted(path.name for path in real.iterdir()) == ["checkpoint.pkl"]


@pytest.mark.root
def test_read_only_disk(any_runner: Runner, mount: Callable[..., Path], tmp_path: Path) -> None:
    """On a read-only disk no step runs. The stored snapshot can be read and planned."""
    real = tmp_path / "real"
    real.mkdir()
    flows = FlowFactory(mount("--bind", real) / "checkpoint.pkl")
    cp = flows.flow("a", "b")
    any_runner(cp, {"n": 1}, until="a")
    flows.log.clear()
    mount("-o", "remount,bind,ro")
    with pytest.raises(StorageError) as info:
        any_runner(cp)
    assert (info.value.errno, info.value.path) == (errno.EROFS, str(flows.path))
    assert flows.log == []
    assert any_runner.read(LocalStateHandler(flows.path))["trail"] == ["a"]
    assert any_runner.plan(cp).start == 1
    mount("--bind", real)
    assert any_runner(cp)["trail"] == ["a", "b"]
    assert flows.ran() == ["b"]


@pytest.mark.root
@pytest.mark.leaves_files
def test_disk_that_turns_itself_read_only(runner: Runner, disk: Callable[[str], Disk]) -> None:
    """A file system that remounts itself read-only after an error keeps the old snapshot."""
    made = disk("ext4")
    flows = FlowFactory(made.place / "place" / "checkpoint.pkl")
    made.unmount()
    made.mount(",errors=remount-ro")
    device = made.place.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    switch = Path(f"/sys/fs/ext4/{name}/trigger_fs_error")

    def find_an_error() -> None:
        switch.write_text("1", encoding="ascii")

    check_step_fails(flows, runner, find_an_error, errno.EROFS)
    made.unmount()
    made.mount()
    assert flows.stored() == {"loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    flows.log.clear()
    assert runner(flows.flow("a", "b"))["trail"] == ["a", "b"]
    assert flows.ran() == ["b"]
    assert sorted(path.name for path in flows.path.parent.iterdir()) == ["checkpoint.pkl"]


@pytest.mark.root
def test_out_of_inodes(runner: Runner, mount: Callable[..., Path]) -> None:
    """A disk without free inodes keeps the old snapshot."""
    flows = FlowFactory(
        mount("-t", "tmpfs", "-o", "size=2m,nr_inodes=8", "none") / "checkpoint.pkl"
    )
    others = [flows.path.parent / f"other {number}" for number in range(20)]

    def fill() -> None:
        with contextlib.suppress(OSError):
            for path in others:
                path.touch()

    check_step_fails(flows, runner, fill, errno.ENOSPC)
    for path in others:
        path.unlink(missing_ok=True)
    check_resumes(flows, runner)


# --- the directory changes during a run


def test_directory_removed_meanwhile(runner: Runner, tmp_path: Path) -> None:
    """A directory deleted during a run is an error that names the file."""
    flows = FlowFactory(tmp_path / "place" / "checkpoint.pkl")
    check_step_fails(flows, runner, lambda: shutil.rmtree(flows.path.parent), errno.ENOENT)
    flows.log.clear()
    assert runner(flows.flow("a", "b"), {"n": 1})["n"] == 1
    assert flows.ran() == ["a", "b"]


@pytest.mark.leaves_files
def test_directory_replaced_by_a_link_meanwhile(runner: Runner, tmp_path: Path) -> None:
    """The directory is moved and replaced by a link to it. The file is written through the link."""
    flows = FlowFactory(tmp_path / "place" / "checkpoint.pkl")
    elsewhere = tmp_path / "elsewhere"

    def move(state: State) -> None:
        flows.path.parent.rename(elsewhere)
        flows.path.parent.symlink_to(elsewhere)

    cp = flows.flow("a")
    cp.add_step(name="b")(move)
    flows.add(cp, "c")
    assert runner(cp, {})["trail"] == ["a", "c"]
    assert LocalStateHandler(elsewhere / "checkpoint.pkl").read()["trail"] == ["a", "c"]


@pytest.mark.leaves_files
def test_directory_replaced_by_a_link_to_another(runner: Runner, tmp_path: Path) -> None:
    """The directory is replaced by a link to another. Nothing is written there, without a lock."""
    flows = FlowFactory(tmp_path / "place" / "checkpoint.pkl")
    kept, elsewhere = tmp_path / "kept", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def swap(state: State) -> None:
        flows.path.parent.rename(kept)
        flows.path.parent.symlink_to(elsewhere)

    cp = flows.flow("a")
    cp.add_step(name="b")(swap)
    flows.add(cp, "c")
    with pytest.raises(LeaseLostError, match="moved its directory"):
        runner(cp, {})
    assert list(elsewhere.iterdir()) == []
    assert LocalStateHandler(kept / "checkpoint.pkl").read()["trail"] == ["a"]


@pytest.mark.parametrize("kind", ["link to itself", "directory", "FIFO"])
def test_file_replaced_meanwhile(kind: str, runner: Runner, flows: FlowFactory) -> None:
    """A non-file that replaces the file during a run is not overwritten."""
    makers = {"link to itself": lambda path: path.symlink_to(path), "directory": Path.mkdir}

    def replace(state: State) -> None:
        flows.path.unlink()
        makers.get(kind, os.mkfifo)(flows.path)

    cp = flows.flow("a")
    cp.add_step(name="b")(replace)
    with pytest.raises(StorageError, match=flows.path.name):
        runner(cp, {})
    assert not flows.path.is_file()
    assert len(list(flows.path.parent.iterdir())) == 1


def test_full_disk_of_leases(mount: Callable[..., Path]) -> None:
    """Where the disk is full, the refused call leaves no empty lock file behind."""
    folder = mount("-t", "tmpfs", "-o", "size=128k", "none")
    cp = CheckpointFlow(f"{folder}/runs/", name="orders", lock="lease")
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    cp.run({"n": 1}, run_id="x", until="a")
    fill, place = folder / "fill", f"{folder}/runs/"
    with contextlib.suppress(OSError), fill.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    for call in (
        lambda: adopt(place, flow=cp.name, run_id="x", secret="x" * 40),
        lambda: adopt_all(place, flow=cp.name, secret="x" * 40),
    ):
        with pytest.raises(StorageError, match="No space left"):
            call()
    fill.unlink()
    assert not [name for name in os.listdir(place) if name != "x.pkl"]  # noqa: PTH208
    assert cp.run(run_id="x")["n"] == 1
