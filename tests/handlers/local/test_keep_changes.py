"""`keep=` when it changes between runs, when the file is taken away, and where nothing links."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import keep_script
import pytest
from failpoint_script import Scenario
from kept_snapshots import (
    STEPS,
    flow_run,
    kept_directory,
    kept_files,
    kept_names,
    kept_states,
    overwrite,
    stop_after,
    undisturbed,
)
from tracing import needs_strace, trace

from aiocheckpoint import CorruptSnapshotError, LocalStateHandler, StorageError
from aiocheckpoint.handlers._files.failpoints import armed

if TYPE_CHECKING:
    from support import FlowFactory, Runner

SCRIPT = Path(keep_script.__file__)


# --- another number


def test_another_number_with_each_run(runner: Runner, flows: FlowFactory) -> None:
    """Each run keeps its own number of what is there; one that keeps one leaves the rest alone."""
    expected = {
        3: ["1-3", "1-4", "1-5"],
        1: ["1-3", "1-4", "1-5"],
        "all": ["3-11", "3-12", "3-13", "3-14", "3-15"],
        2: ["4-19", "4-20"],
    }
    for keep, names in expected.items():
        assert runner(flows.flow(*STEPS, fsync=False, keep=keep), {}, "always") == undisturbed()
        assert kept_names(flows.path) == names


def test_fewer_in_the_middle_of_a_run(runner: Runner, flows: FlowFactory) -> None:
    """A run may be gone on with under another number, which holds from its next snapshot on."""
    stop_after(flows, "b", keep="all")
    assert flow_run(flows, runner, keep=2) == undisturbed()
    assert kept_names(flows.path) == ["1-4", "1-5"]


def test_more_in_the_middle_of_a_run(runner: Runner, flows: FlowFactory) -> None:
    """What was not kept is not there, and what comes now is."""
    stop_after(flows, "b")
    assert flow_run(flows, runner, keep=3) == undisturbed()
    assert kept_names(flows.path) == ["1-4", "1-5"]


def test_damage_after_three_one_three_one_three(runner: Runner, flows: FlowFactory) -> None:
    """However the number went to and fro, what stands in is the newest that is kept."""
    for keep in (3, 1, 3, 1):
        flow_run(flows, runner, keep=keep)
    stop_after(flows, "b", keep=3)
    assert kept_names(flows.path) == ["5-21", "5-22", "5-23"]
    overwrite(flows.path)
    assert flow_run(flows, runner, keep=3) == undisturbed()
    assert flows.ran() == ["b", "c", "d"]


def test_one_that_keeps_one_does_not_look(runner: Runner, flows: FlowFactory) -> None:
    """A flow that keeps one takes no notice of what another kept: damage is an error."""
    stop_after(flows, "b", keep=3)
    overwrite(flows.path)
    with pytest.raises(CorruptSnapshotError):
        runner(flows.flow(*STEPS))
    assert flow_run(flows, runner, keep=3) == undisturbed()


# --- the file was taken away, and what was kept stayed for a while


def test_deleted_file_and_a_run_that_keeps_one(runner: Runner, flows: FlowFactory) -> None:
    """What was kept of a deleted file is gone with the next run, whatever that one keeps."""
    stop_after(flows, "c", keep=3)
    flows.path.unlink()
    stop_after(flows, "b", keep=1)
    overwrite(flows.path)
    with pytest.raises(CorruptSnapshotError):
        runner(flows.flow(*STEPS, keep=3))


def test_deleted_file_and_going_back(runner: Runner, flows: FlowFactory) -> None:
    """A run never goes back to a state of a file that was deleted before it began."""
    flows.flow(*STEPS, fsync=False, keep="all").run({"deleted": True}, until="c")
    flows.path.unlink()
    stop_after(flows, "a", keep=1)
    state = runner(flows.flow(*STEPS, fsync=False, keep="all"), checkpoint="b")
    assert "deleted" not in state
    state = runner(flows.flow(*STEPS, fsync=False, keep="all"), checkpoint="c")
    assert "deleted" not in state


def test_emptied_file_a_kill_and_going_back(runner: Runner, flows: FlowFactory) -> None:
    """Whoever is killed at the first snapshot after the file was emptied leaves nothing older."""
    flows.flow(*STEPS, fsync=False, keep="all").run({"emptied": True})
    flows.path.write_bytes(b"")
    break_off_at("renamed", flows)
    state = runner(flows.flow(*STEPS, fsync=False, keep="all"), checkpoint="c")
    assert "emptied" not in state


def break_off_at(point: str, flows: FlowFactory) -> None:
    """Let a run break off where a kill would leave the same files."""
    with pytest.raises(ZeroDivisionError), armed(point, lambda: 1 / 0):
        flows.flow(*STEPS, fsync=False, keep="all").run({}, until="a")


@pytest.mark.parametrize("keep", [3, 5])
def test_dead_writer_and_a_fresh_run(
    keep: int, runner: Runner, flows: FlowFactory, tmp_path: Path
) -> None:
    """A snapshot that was never acknowledged does not stand in for one that was."""
    leave_dead_writer(flows)
    assert kept_names(flows.path) == ["1-1", "1-2"]
    flows.faults["load a"] = OSError()
    with pytest.raises(OSError):  # noqa: PT011 - the fault above
        runner(flows.flow(*STEPS, fsync=False, keep=keep), {"who": "second"}, "always")
    overwrite(flows.path)
    assert runner.read(LocalStateHandler(flows.path, keep=keep)).get("trail") is None


def leave_dead_writer(flows: FlowFactory) -> None:
    """Leave what a run leaves that is killed between keeping its second snapshot and storing it."""
    stop_after(flows, "a", keep="all")
    start, after_a = kept_files(flows.path)
    os.link(start, flows.path.with_name("start"))
    flows.path.with_name("start").replace(flows.path)
    assert after_a.stat().st_nlink == 1


def test_dead_writer_and_the_rest_of_the_run(runner: Runner, flows: FlowFactory) -> None:
    """The next snapshot takes the place of the one that was kept and never stored."""
    leave_dead_writer(flows)
    assert flows.header().position == 0
    assert flow_run(flows, runner, keep="all") == undisturbed()
    assert flows.ran() == list(STEPS)
    assert kept_names(flows.path) == [f"1-{sequence}" for sequence in range(1, 6)]
    assert [state.get("trail", []) for state in kept_states(flows.path)] == [
        list(STEPS[:n]) for n in range(5)
    ]


# --- nothing can be linked


@pytest.mark.parametrize("keep", [2, "all"])
def test_directory_of_another_disk(keep: int | str, runner: Runner, flows: FlowFactory) -> None:
    """Where files cannot be linked, the error says so before any step, and nothing is lost."""
    elsewhere = other_disk(flows.path)
    flow_run(flows, runner)
    flows.log.clear()
    before = flows.path.read_bytes()
    kept_directory(flows.path).symlink_to(elsewhere)
    with pytest.raises(StorageError, match="cannot link files, as keep= needs it") as info:
        flow_run(flows, runner, keep=keep)
    assert (info.value.errno, info.value.path) == (errno.EXDEV, str(flows.path))
    assert (flows.log, flows.path.read_bytes()) == ([], before)


def other_disk(path: Path) -> Path:
    """Give a directory that lies on another file system than a path, or skip the test."""
    other = Path("/dev/shm")  # noqa: S108 - nothing is written there
    if not other.is_dir() or other.stat().st_dev == path.parent.stat().st_dev:
        pytest.skip("there is no second file system that anybody may use")
    return other


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP", "EMLINK"])
def test_file_system_without_links(error: str, tmp_path: Path) -> None:
    """As on FAT, where link(2) is refused: the first snapshot says what to do, and leaves none."""
    place = tmp_path / "place"
    place.mkdir()
    injection = f"link,linkat:error={error}"
    traced = trace([SCRIPT, place], tmp_path / "log", injection, more=["link", "linkat"])
    assert traced.status == 0, traced.stderr
    text = "keeping a snapshot of" if error == "EMLINK" else "cannot link files, as keep= needs"
    assert text in traced.stdout
    assert traced.stdout.startswith(f"StorageError {getattr(errno, error)} [] ")
    assert [path for path in place.iterdir() if path.is_file()] == []
    assert Scenario("kept", 1, fsync=False, keep=1).go(place)["trail"] == ["a", "b", "c"]


def test_something_else_at_the_name(runner: Runner, flows: FlowFactory) -> None:
    """Where a file has the directory's name, the error names the place, and the file stays."""
    kept_directory(flows.path).write_text("mine", encoding="ascii")
    with pytest.raises(StorageError) as info:
        flow_run(flows, runner, keep=2)
    assert str(flows.path) in str(info.value)
    assert flows.log == []
    assert kept_directory(flows.path).read_text(encoding="ascii") == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no open directory")
def test_directory_deleted_meanwhile(runner: Runner, flows: FlowFactory) -> None:
    """Where the directory is deleted under a run, it is made anew, and the run goes on."""
    cp = flows.flow("a", fsync=False, keep="all")

    def delete(state: object) -> None:
        for path in kept_files(flows.path):
            path.unlink()
        kept_directory(flows.path).rmdir()

    cp.add_step(name="delete")(delete)
    flows.add(cp, "b")
    assert runner(cp, {})["trail"] == ["a", "b"]
    assert kept_names(flows.path) == ["1-3", "1-4"]
