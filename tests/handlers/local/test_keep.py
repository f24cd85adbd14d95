"""The number, the location, the files and the contents of the snapshots that `keep=` retains."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from kept_snapshots import (
    STEPS,
    flow_run,
    kept_directory,
    kept_files,
    kept_headers,
    kept_names,
    kept_states,
    watched,
)
from support import FlowFactory, Runner, State, fail

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
)

if TYPE_CHECKING:
    from pathlib import Path

KEEPS = [2, 3, 5, 9, "all"]

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links are of POSIX")


# --- how many


@pytest.mark.parametrize("keep", KEEPS)
def test_number_after_each_snapshot(keep: int | str, runner: Runner, flows: FlowFactory) -> None:
    """After n snapshots the newest min(n, keep) are kept, in order."""
    seen: list[list[str]] = []
    runner(watched(flows, lambda: seen.append(kept_names(flows.path)), keep=keep), {})
    all_of_them = [f"1-{sequence}" for sequence in range(1, 6)]
    longest = 5 if keep == "all" else int(keep)
    assert seen == [all_of_them[max(0, n - longest) : n] for n in range(1, 6)]


@pytest.mark.parametrize("keep", [2, 3, 5, 9])
def test_number_over_several_runs(keep: int, runner: Runner, flows: FlowFactory) -> None:
    """The number counts over all runs of a checkpoint. Older runs are pruned first."""
    for _ in range(3):
        flow_run(flows, runner, keep=keep)
    written = [f"{number}-{number * 5 - 5 + n}" for number in (1, 2, 3) for n in range(1, 6)]
    assert kept_names(flows.path) == written[-keep:]


def test_all_are_those_of_the_last_run(runner: Runner, flows: FlowFactory) -> None:
    """With "all", the first snapshot of a fresh run deletes the snapshots of the previous run."""
    flow_run(flows, runner, keep="all")
    flows.flow(*STEPS, fsync=False, keep="all").run(until="a")
    assert kept_names(flows.path) == ["2-6", "2-7"]


@pytest.mark.parametrize("fsync", [True, False])
def test_one_is_kept_without_a_second_name(fsync: bool, runner: Runner, flows: FlowFactory) -> None:  # noqa: FBT001
    """By default there is the file alone, with one name and no hidden directory."""
    runner(flows.flow(fsync=fsync))
    assert [path.name for path in flows.path.parent.iterdir()] == ["checkpoint.pkl"]
    assert flows.path.stat().st_nlink == 1


def test_states_are_those_of_each_step(runner: Runner, flows: FlowFactory) -> None:
    """Each kept snapshot holds the state after its step, with its position."""
    flow_run(flows, runner, keep="all")
    positions = [header.position for header in kept_headers(flows.path)]
    assert positions == [0, 1, 2, 3, 0]
    trails = [state.get("trail", []) for state in kept_states(flows.path)]
    assert trails == [list(STEPS[:n]) for n in range(5)]


def test_patches_by_hand_are_kept_too(runner: Runner, flows: FlowFactory) -> None:
    """A state that another handler object writes counts like any other."""
    handler = LocalStateHandler(flows.path, keep=3, fsync=False)
    for number in range(5):
        runner.write(handler, {"n": number, "checkpoint_index": number})
    assert kept_states(flows.path) == [{"n": n, "checkpoint_index": n} for n in (2, 3, 4)]
    assert runner.read(handler) == {"n": 4, "checkpoint_index": 4}


@pytest.mark.parametrize("keep", [3, "all"])
def test_record_of_a_failure_replaces_the_one_before(
    keep: int | str, runner: Runner, flows: FlowFactory
) -> None:
    """The record of a failing step replaces the one before, and displaces no other state."""
    cp = flows.flow(*STEPS, fsync=False, keep=keep)
    error = flows.faults["step c"] = ValueError("not yet")
    for times in range(4):
        fail(runner, cp, error)
        newest = kept_headers(flows.path)[-1]
        assert (newest.sequence, newest.status, newest.failure is None) == (4 + times, "failed", 0)
        assert [header.position for header in kept_headers(flows.path)] == [0, 1, 2]
    assert [state.get("trail", []) for state in kept_states(flows.path)] == [[], ["a"], ["a", "b"]]


def test_record_of_a_cancellation_replaces_the_snapshot(runner: Runner, flows: FlowFactory) -> None:
    """The record of a cancellation replaces the snapshot of the cancelled step."""
    flows.faults["save b"] = KeyboardInterrupt()
    fail(runner, flows.flow(*STEPS, fsync=False, keep=2), flows.faults["save b"])
    assert [(one.position, one.status) for one in kept_headers(flows.path)] == [
        *((0, "running"), (1, "cancelled"))
    ]


# --- the files


@posix_only
@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("keep", [2, "all"])
def test_newest_is_a_second_name_of_the_file(
    keep: int | str,
    fsync: bool,  # noqa: FBT001
    runner: Runner,
    flows: FlowFactory,
) -> None:
    """The newest snapshot is one file with two names. The older ones have one name each."""
    runner(flows.flow(*STEPS, fsync=fsync, keep=keep))
    *older, newest = kept_files(flows.path)
    assert newest.samefile(flows.path)
    assert newest.stat().st_nlink == 2
    assert [file.stat().st_nlink for file in older] == [1] * len(older)


@posix_only
def test_nothing_is_written_again(runner: Runner, flows: FlowFactory) -> None:
    """A kept file is the former snapshot file, with the same inode, bytes and time."""
    seen: list[tuple[int, int, bytes]] = []
    kept: list[list[tuple[int, int, bytes]]] = []

    def look() -> None:
        seen.append(identity(flows.path))
        kept.append([identity(one) for one in kept_files(flows.path)])

    runner(watched(flows, look, keep="all"), {})
    assert kept == [seen[:number] for number in range(1, 6)]


def identity(path: Path) -> tuple[int, int, bytes]:
    """Return the values that change when a file is written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look(umask: int, runner: Runner, flows: FlowFactory) -> None:
    """The directory has mode 0700 and each file 0600 for every umask."""
    old = os.umask(umask)
    try:
        flow_run(flows, runner, keep=3)
    finally:
        os.umask(old)
    assert stat.S_IMODE(kept_directory(flows.path).stat().st_mode) == 0o700
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (flows.path, *kept_files(flows.path))}
    assert modes == {0o600}


# --- the location


def test_runs_keep_apart(runner: Runner, flows: FlowFactory) -> None:
    """Each run id keeps its snapshots beside its own file, and deletes no other run's."""
    ids = ["x", "y", "../x", "X", "kept"]
    cp = flows.flow(*STEPS, fsync=False, keep=2)
    for run_id in ids:
        runner(cp, {"id": run_id}, run_id=run_id)
    places = [flows.path.parent / cp.handler.locate(run_id) for run_id in ids]
    assert [kept_names(place) for place in places] == [["1-4", "1-5"]] * len(ids)
    assert {place.parent for place in places} == {flows.path.parent}
    cp.reset(run_id="x")
    assert [len(kept_names(place)) for place in places] == [0, 2, 2, 2, 2]
    assert [cp.handler.read(run_id)["id"] for run_id in ids[1:]] == ids[1:]


@posix_only
@pytest.mark.parametrize("dangling", [True, False], ids=["dangling", "to a file"])
def test_behind_a_link(dangling: bool, runner: Runner, flows: FlowFactory, tmp_path: Path) -> None:  # noqa: FBT001
    """The directory of a linked file is beside the target, and the link stays."""
    real = tmp_path / "elsewhere" / "real.pkl"
    real.parent.mkdir()
    flows.path.symlink_to(real)
    if not dangling:
        flows.flow(*STEPS, fsync=False).run({})
    flow_run(flows, runner, keep=2)
    assert flows.path.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pkl", "elsewhere"]
    assert len(kept_names(real)) == 2


@posix_only
def test_reset_behind_a_link(runner: Runner, flows: FlowFactory, tmp_path: Path) -> None:
    """A reset deletes the stored snapshots, and the link keeps its target."""
    real = tmp_path / "elsewhere" / "real.pkl"
    real.parent.mkdir()
    flows.path.symlink_to(real)
    flow_run(flows, runner, keep=2)
    runner.reset(flows.flow(keep=2))
    assert list(real.parent.iterdir()) == []
    assert flows.path.is_symlink()


@pytest.mark.parametrize("keep", [1, 2, "all"])
def test_reset_deletes_all(keep: int | str, runner: Runner, flows: FlowFactory) -> None:
    """A reset deletes all snapshots of the run, for every `keep` of the present flow."""
    flow_run(flows, runner, keep=3)
    runner.reset(flows.flow(keep=keep))
    assert list(flows.path.parent.iterdir()) == []


def test_reset_deletes_all_damaged_snapshots(runner: Runner, flows: FlowFactory) -> None:
    """A reset works even if every snapshot is damaged, as the error says."""
    flow_run(flows, runner, keep=3)
    for path in (flows.path, *kept_files(flows.path)):
        path.write_bytes(b"nothing of ours")
    runner.reset(flows.flow(keep=3))
    assert list(flows.path.parent.iterdir()) == []
    assert flow_run(flows, runner, keep=3)["trail"] == list(STEPS)


@pytest.mark.parametrize("keep", [1, 3, "all"])
def test_strangers_in_the_directory_stay(
    keep: int | str, runner: Runner, flows: FlowFactory
) -> None:
    """A foreign file in the directory is neither read nor deleted by a run."""
    flow_run(flows, runner, keep=3)
    strangers = ["notes.txt", "1-", "-3", "1-x", "\u0665-x"]
    for name in strangers:
        (kept_directory(flows.path) / name).write_text("mine", encoding="ascii")
    flow_run(flows, runner, keep=keep)
    left = {path.name for path in kept_directory(flows.path).iterdir()}
    assert left >= set(strangers)


BAD: list[tuple[object, type[Exception]]] = [
    *((value, InvalidTypeError) for value in (True, False, None, 1.5, b"all", [3])),
    *((value, InvalidValueError) for value in (0, -1, "every", "", "3", "ALL")),
]


@pytest.mark.parametrize(("keep", "error"), BAD, ids=lambda value: repr(value)[:20])
def test_what_cannot_be_meant(keep: Any, error: type[Exception], flows: FlowFactory) -> None:  # noqa: ANN401
    """A wrong type is a TypeError and a wrong value a ValueError, before anything is stored."""
    with pytest.raises(error, match="keep="):
        CheckpointFlow(flows.path, keep=keep)
    with pytest.raises(error, match="keep="):
        LocalStateHandler(flows.path, keep=keep)


def test_keep_changes_nothing_of_the_run(runner: Runner, flows: FlowFactory) -> None:
    """`keep` changes nothing of the run itself: its calls, its result, its last snapshot."""
    one: State = flow_run(flows, runner, keep=1)
    log, stored = [*flows.log], flows.stored()
    flows.flow(keep=1).reset()
    flows.log.clear()
    assert (flow_run(flows, runner, keep="all"), flows.log, flows.stored()) == (one, log, stored)
