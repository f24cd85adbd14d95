"""How many snapshots `keep=` keeps, where, how, and of what."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from keeping import (
    STEPS,
    flow_run,
    kept_directory,
    kept_files,
    kept_headers,
    kept_names,
    kept_states,
    watched,
)
from support import Door, Lab, State, fail

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
def test_number_after_each_snapshot(keep: int | str, door: Door, lab: Lab) -> None:
    """After n snapshots there are n, or `keep` where that is less: the newest ones, in order."""
    seen: list[list[str]] = []
    door(watched(lab, lambda: seen.append(kept_names(lab.path)), keep=keep), {})
    all_of_them = [f"1-{sequence}" for sequence in range(1, 6)]
    longest = 5 if keep == "all" else int(keep)
    assert seen == [all_of_them[max(0, n - longest) : n] for n in range(1, 6)]


@pytest.mark.parametrize("keep", [2, 3, 5, 9])
def test_number_over_several_runs(keep: int, door: Door, lab: Lab) -> None:
    """The number counts over the runs of one place: older runs make room for the last."""
    for _ in range(3):
        flow_run(lab, door, keep=keep)
    written = [f"{number}-{number * 5 - 5 + n}" for number in (1, 2, 3) for n in range(1, 6)]
    assert kept_names(lab.path) == written[-keep:]


def test_all_are_those_of_the_last_run(door: Door, lab: Lab) -> None:
    """With "all" the first snapshot of a fresh run deletes those of the run before."""
    flow_run(lab, door, keep="all")
    lab.flow(*STEPS, fsync=False, keep="all").run(until="a")
    assert kept_names(lab.path) == ["2-6", "2-7"]


@pytest.mark.parametrize("fsync", [True, False])
def test_one_is_kept_without_a_second_name(fsync: bool, door: Door, lab: Lab) -> None:  # noqa: FBT001
    """By default there is the file alone: no hidden directory, one name."""
    door(lab.flow(fsync=fsync))
    assert [path.name for path in lab.path.parent.iterdir()] == ["checkpoint.pkl"]
    assert lab.path.stat().st_nlink == 1


def test_states_are_those_of_each_step(door: Door, lab: Lab) -> None:
    """What is kept is the state as it was after each step, with its position."""
    flow_run(lab, door, keep="all")
    positions = [header.position for header in kept_headers(lab.path)]
    assert positions == [0, 1, 2, 3, 0]
    trails = [state.get("trail", []) for state in kept_states(lab.path)]
    assert trails == [list(STEPS[:n]) for n in range(5)]


def test_patches_by_hand_are_kept_too(door: Door, lab: Lab) -> None:
    """A state that is written by a handler of its own counts like any other."""
    handler = LocalStateHandler(lab.path, keep=3, fsync=False)
    for number in range(5):
        door.write(handler, {"n": number, "checkpoint_index": number})
    assert kept_states(lab.path) == [{"n": n, "checkpoint_index": n} for n in (2, 3, 4)]
    assert door.read(handler) == {"n": 4, "checkpoint_index": 4}


@pytest.mark.parametrize("keep", [3, "all"])
def test_record_of_a_failure_takes_the_place(keep: int | str, door: Door, lab: Lab) -> None:
    """However often a step breaks, its record uses up the room of no other state."""
    cp = lab.flow(*STEPS, fsync=False, keep=keep)
    error = lab.faults["step c"] = ValueError("not yet")
    for times in range(4):
        fail(door, cp, error)
        newest = kept_headers(lab.path)[-1]
        assert (newest.sequence, newest.status, newest.failure is None) == (4 + times, "failed", 0)
        assert [header.position for header in kept_headers(lab.path)] == [0, 1, 2]
    assert [state.get("trail", []) for state in kept_states(lab.path)] == [[], ["a"], ["a", "b"]]


def test_cancellation_takes_the_place_as_well(door: Door, lab: Lab) -> None:
    """The record of an interruption replaces the snapshot it tells of."""
    lab.faults["save b"] = KeyboardInterrupt()
    fail(door, lab.flow(*STEPS, fsync=False, keep=2), lab.faults["save b"])
    assert [(one.position, one.status) for one in kept_headers(lab.path)] == [
        *((0, "running"), (1, "cancelled"))
    ]


# --- how


@posix_only
@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("keep", [2, "all"])
def test_newest_is_a_second_name_of_the_file(
    keep: int | str,
    fsync: bool,  # noqa: FBT001
    door: Door,
    lab: Lab,
) -> None:
    """The newest is one file under two names, and the others have one: nothing is copied."""
    door(lab.flow(*STEPS, fsync=fsync, keep=keep))
    *older, newest = kept_files(lab.path)
    assert newest.samefile(lab.path)
    assert newest.stat().st_nlink == 2
    assert [file.stat().st_nlink for file in older] == [1] * len(older)


@posix_only
def test_nothing_is_written_again(door: Door, lab: Lab) -> None:
    """A kept file is the one that once was the snapshot: same inode, bytes and time."""
    seen: list[tuple[int, int, bytes]] = []
    kept: list[list[tuple[int, int, bytes]]] = []

    def look() -> None:
        seen.append(identity(lab.path))
        kept.append([identity(one) for one in kept_files(lab.path)])

    door(watched(lab, look, keep="all"), {})
    assert kept == [seen[:number] for number in range(1, 6)]


def identity(path: Path) -> tuple[int, int, bytes]:
    """Give what changes when a file is written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look(umask: int, door: Door, lab: Lab) -> None:
    """The directory has mode 0700 and each file 0600, whatever the umask."""
    old = os.umask(umask)
    try:
        flow_run(lab, door, keep=3)
    finally:
        os.umask(old)
    assert stat.S_IMODE(kept_directory(lab.path).stat().st_mode) == 0o700
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (lab.path, *kept_files(lab.path))}
    assert modes == {0o600}


# --- where


def test_runs_keep_apart(door: Door, lab: Lab) -> None:
    """Each run id has what it keeps beside its own file, and deletes no other's."""
    ids = ["x", "y", "../x", "X", "kept"]
    cp = lab.flow(*STEPS, fsync=False, keep=2)
    for run_id in ids:
        door(cp, {"id": run_id}, run_id=run_id)
    places = [lab.path.parent / cp.handler.locate(run_id) for run_id in ids]
    assert [kept_names(place) for place in places] == [["1-4", "1-5"]] * len(ids)
    assert {place.parent for place in places} == {lab.path.parent}
    cp.reset(run_id="x")
    assert [len(kept_names(place)) for place in places] == [0, 2, 2, 2, 2]
    assert [cp.handler.read(run_id)["id"] for run_id in ids[1:]] == ids[1:]


@posix_only
@pytest.mark.parametrize("dangling", [True, False], ids=["dangling", "to a file"])
def test_behind_a_link(dangling: bool, door: Door, lab: Lab, tmp_path: Path) -> None:  # noqa: FBT001
    """Where the file is a link, the directory lies beside what it points to, and the link stays."""
    real = tmp_path / "elsewhere" / "real.pkl"
    real.parent.mkdir()
    lab.path.symlink_to(real)
    if not dangling:
        lab.flow(*STEPS, fsync=False).run({})
    flow_run(lab, door, keep=2)
    assert lab.path.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pkl", "elsewhere"]
    assert len(kept_names(real)) == 2


@posix_only
def test_reset_behind_a_link(door: Door, lab: Lab, tmp_path: Path) -> None:
    """A reset deletes the stored states themselves, and the link keeps pointing at their place."""
    real = tmp_path / "elsewhere" / "real.pkl"
    real.parent.mkdir()
    lab.path.symlink_to(real)
    flow_run(lab, door, keep=2)
    door.reset(lab.flow(keep=2))
    assert list(real.parent.iterdir()) == []
    assert lab.path.is_symlink()


@pytest.mark.parametrize("keep", [1, 2, "all"])
def test_reset_deletes_all(keep: int | str, door: Door, lab: Lab) -> None:
    """A reset leaves nothing of the run, whatever `keep` the flow is made with now."""
    flow_run(lab, door, keep=3)
    door.reset(lab.flow(keep=keep))
    assert list(lab.path.parent.iterdir()) == []


def test_reset_deletes_all_of_a_damaged_place(door: Door, lab: Lab) -> None:
    """Where every snapshot is damaged, a reset is the way out, as the error says."""
    flow_run(lab, door, keep=3)
    for path in (lab.path, *kept_files(lab.path)):
        path.write_bytes(b"nothing of ours")
    door.reset(lab.flow(keep=3))
    assert list(lab.path.parent.iterdir()) == []
    assert flow_run(lab, door, keep=3)["trail"] == list(STEPS)


@pytest.mark.parametrize("keep", [1, 3, "all"])
def test_strangers_in_the_directory_stay(keep: int | str, door: Door, lab: Lab) -> None:
    """What a person puts into the directory is neither read nor deleted by a run."""
    flow_run(lab, door, keep=3)
    strangers = ["notes.txt", "1-", "-3", "1-x", "\u0665-x"]
    for name in strangers:
        (kept_directory(lab.path) / name).write_text("mine", encoding="ascii")
    flow_run(lab, door, keep=keep)
    left = {path.name for path in kept_directory(lab.path).iterdir()}
    assert left >= set(strangers)


BAD: list[tuple[object, type[Exception]]] = [
    *((value, InvalidTypeError) for value in (True, False, None, 1.5, b"all", [3])),
    *((value, InvalidValueError) for value in (0, -1, "every", "", "3", "ALL")),
]


@pytest.mark.parametrize(("keep", "error"), BAD, ids=lambda value: repr(value)[:20])
def test_what_cannot_be_meant(keep: Any, error: type[Exception], lab: Lab) -> None:  # noqa: ANN401
    """Another type is a TypeError and another value a ValueError, before anything is stored."""
    with pytest.raises(error, match="keep="):
        CheckpointFlow(lab.path, keep=keep)
    with pytest.raises(error, match="keep="):
        LocalStateHandler(lab.path, keep=keep)


def test_state_in_two_places_is_the_same(door: Door, lab: Lab) -> None:
    """`keep` changes nothing of the run itself: what it calls, gives back and stores last."""
    one: State = flow_run(lab, door, keep=1)
    log, stored = [*lab.log], lab.stored()
    lab.flow(keep=1).reset()
    lab.log.clear()
    assert (flow_run(lab, door, keep="all"), lab.log, lab.stored()) == (one, log, stored)
