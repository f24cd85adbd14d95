"""With `keep=`, a damaged newest snapshot gives way to the newest sound one, and says so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from keeping import (
    DAMAGES,
    FORGERIES,
    OTHER_SECRET,
    SECRET,
    STEPS,
    flow_run,
    kept_files,
    kept_names,
    overwrite,
    stop_after,
    undisturbed,
)
from support import Door, Lab, State, dump_bare

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    LocalStateHandler,
    UntrustedSnapshotError,
)
from aiocheckpoint.events import RunStarted, SnapshotSkipped

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.handlers._retention import Keep


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Texts of the warnings that the library logged."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "aiocheckpoint"
    ]


def check_told(lab: Lab, caplog: pytest.LogCaptureFixture, kind: type[CheckpointError]) -> None:
    """See that a run told of the one it passed over, once, before it started."""
    kinds = [type(event) for event in lab.events]
    assert kinds.count(SnapshotSkipped) == 1
    assert kinds.index(SnapshotSkipped) < kinds.index(RunStarted)
    skipped = next(event for event in lab.events if isinstance(event, SnapshotSkipped))
    assert isinstance(skipped.error, kind)
    assert str(lab.path) in str(skipped.error)
    (warning,) = warnings_in(caplog)
    assert str(skipped.error) in warning


@pytest.mark.parametrize(
    ("damage", "keep"), [*((damage, 2) for damage in DAMAGES), ("cut", 3), ("cut", "all")]
)
def test_run_goes_on_from_the_newest_sound(
    damage: str, keep: Keep, door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """The step whose snapshot is damaged runs again, and the end is that of an undisturbed run."""
    stop_after(lab, "c", keep=keep)
    DAMAGES[damage](lab.path)
    assert flow_run(lab, door, keep=keep) == undisturbed()
    assert lab.ran() == ["c", "d"]
    check_told(lab, caplog, CorruptSnapshotError)
    assert lab.stored() == {**undisturbed(), "checkpoint_index": 0}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_newest_is_passed_over(
    forgery: str, door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not signed for this run is no more trusted than without `keep`."""
    stop_after(lab, "c", keep=3, secret=SECRET)
    FORGERIES[forgery](lab.path)
    assert flow_run(lab, door, keep=3, secret=SECRET) == undisturbed()
    assert lab.ran() == ["c", "d"]
    check_told(lab, caplog, UntrustedSnapshotError)


def test_forged_older_one_is_passed_over_too(door: Door, lab: Lab) -> None:
    """The search for a sound one trusts nothing that is not signed, wherever it lies."""
    stop_after(lab, "c", keep="all", secret=SECRET)
    start, after_a, *others = kept_files(lab.path)
    for path in others:
        dump_bare(path, {"trail": ["forged"], "checkpoint_index": 3})
    lab.path.write_bytes(others[-1].read_bytes())
    after_a.write_bytes(start.read_bytes())  # sound, and another's sequence
    flow_run(lab, door, keep="all", secret=SECRET)
    assert lab.ran() == list(STEPS)


def test_secret_lost_and_found_again(door: Door, lab: Lab) -> None:
    """Under another secret every one is refused, and with the old one all is as it was."""
    stop_after(lab, "c", keep=3, secret=SECRET)
    before = lab.files()
    with pytest.raises(UntrustedSnapshotError):
        flow_run(lab, door, keep=3, secret=OTHER_SECRET)
    assert (lab.log, lab.files()) == ([], before)
    assert flow_run(lab, door, keep=3, secret=[OTHER_SECRET, SECRET]) == undisturbed()
    assert lab.ran() == ["d"]


def test_plan_passes_over_and_tells(door: Door, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A plan starts where the run would, warns as it would, and changes nothing."""
    stop_after(lab, "c", keep=3)
    overwrite(lab.path)
    before = lab.files()
    plan = door.plan(lab.flow(*STEPS, keep=3))
    assert (plan.start, plan.source, plan.fresh) == (2, "stored", False)
    assert len(warnings_in(caplog)) == 1
    assert lab.files() == before


def test_read_passes_over_and_tells(door: Door, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The handler's read gives the newest sound state with its position, and warns."""
    stop_after(lab, "c", keep=3)
    overwrite(lab.path)
    before = lab.files()
    state = door.read(LocalStateHandler(lab.path, keep=3))
    assert (state["trail"], state["checkpoint_index"]) == (["a", "b"], 2)
    assert len(warnings_in(caplog)) == 1
    assert lab.files() == before


def test_patch_of_what_was_read(door: Door, lab: Lab) -> None:
    """What is read past a damaged one, edited and written back is where the run goes on."""
    stop_after(lab, "c", keep=3)
    overwrite(lab.path)
    handler = LocalStateHandler(lab.path, keep=3, fsync=False)
    door.write(handler, {**door.read(handler), "patched": True})
    assert flow_run(lab, door, keep=3) == {**undisturbed(), "patched": True}
    assert lab.ran() == ["c", "d"]


@pytest.mark.parametrize("spoiled", [1, 2, 3])
def test_several_in_a_row(
    spoiled: int, door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """However many are damaged, the newest sound one is used, and what is wrong is said once."""
    stop_after(lab, "c", keep=4)
    for path in kept_files(lab.path)[-spoiled:]:
        overwrite(path)
    assert flow_run(lab, door, keep=4) == undisturbed()
    assert lab.ran() == list(STEPS[3 - spoiled :])
    check_told(lab, caplog, CorruptSnapshotError)


def test_only_an_older_one_is_damaged(
    door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """A sound newest is used in silence, whatever lies behind it."""
    stop_after(lab, "c", keep=4)
    for path in kept_files(lab.path)[:-1]:
        overwrite(path)
    assert flow_run(lab, door, keep=4) == undisturbed()
    assert lab.ran() == ["d"]
    assert warnings_in(caplog) == []


def test_damage_is_past_after_the_run(
    door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """The run that passed over a damaged one leaves only sound ones, and the next is silent."""
    stop_after(lab, "c", keep=2)
    overwrite(lab.path)
    flow_run(lab, door, keep=2)
    caplog.clear()
    flow_run(lab, door, keep=2)
    assert warnings_in(caplog) == []
    assert len(kept_names(lab.path)) == 2


@pytest.mark.parametrize("spoil", ["alike", "each otherwise"])
def test_all_damaged(spoil: str, every_door: Door, lab: Lab) -> None:
    """Where none is sound, the error of the newest comes out and nothing is touched or run."""
    stop_after(lab, "c", keep=3)
    for number, path in enumerate(kept_files(lab.path)):
        path.write_bytes(b"x" * (1 if spoil == "alike" else number + 1))
    lab.path.unlink()
    lab.path.write_bytes(b"\x80\x04.")
    before = lab.files()
    for use in (flow_run, plan_only, read_only):
        with pytest.raises(CorruptSnapshotError) as info:
            use(lab, every_door, keep=3)
        assert info.value.path == str(lab.path)
        assert "kept" not in info.value.path
    assert (lab.log, lab.files()) == ([], before)


def plan_only(lab: Lab, door: Door, keep: Keep) -> None:
    """Ask for the plan."""
    door.plan(lab.flow(*STEPS, keep=keep))


def read_only(lab: Lab, door: Door, keep: Keep) -> None:
    """Read what is stored."""
    door.read(LocalStateHandler(lab.path, keep=keep))


def test_another_file_in_its_place_loses_nothing(door: Door, lab: Lab) -> None:
    """Where the file was replaced, not written to, its second name still holds the state."""
    stop_after(lab, "c", keep=3)
    lab.path.unlink()
    lab.path.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert flow_run(lab, door, keep=3) == undisturbed()
    assert lab.ran() == ["d"]


def test_finished_one_is_damaged(door: Door, lab: Lab) -> None:
    """Where the snapshot of the end is lost, the last step runs again, and nothing else."""
    flow_run(lab, door, keep=2)
    lab.log.clear()
    overwrite(lab.path)
    assert flow_run(lab, door, keep=2) == undisturbed()
    assert lab.ran() == ["d"]
    assert lab.header().number == 1


@pytest.mark.parametrize("keep", [3, "all"])
@pytest.mark.parametrize("way", ["emptied", "deleted", "replaced by an empty one"])
def test_empty_or_missing_is_nothing_stored(
    way: str, keep: Keep, door: Door, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty or deleted file means a fresh start, which deletes whatever was kept."""
    stop_after(lab, "c", keep=keep)
    take_away(lab.path, way)
    assert door.read(LocalStateHandler(lab.path, keep=2)) == {}
    assert door.plan(lab.flow(*STEPS, keep=keep)).reason == "nothing is stored yet"
    flow_run(lab, door, keep=keep)
    assert lab.ran() == list(STEPS)
    expected = [f"1-{sequence}" for sequence in range(1, 6)]
    assert kept_names(lab.path) == expected[-5 if keep == "all" else -int(keep) :]
    assert warnings_in(caplog) == []


def take_away(path: Path, way: str) -> None:
    """Empty or delete a file."""
    if way == "emptied":
        path.write_bytes(b"")
        return
    path.unlink()
    if way != "deleted":
        path.touch()


@pytest.mark.parametrize("keep", [2, 3, "all"])
@pytest.mark.parametrize("way", ["emptied", "deleted"])
def test_no_way_back_behind_a_fresh_start(way: str, keep: Keep, door: Door, lab: Lab) -> None:
    """What was kept of a file that was taken away never stands in for a later one."""
    stop_after(lab, "c", keep=keep)
    take_away(lab.path, way)
    lab.faults["load a"] = OSError()
    with pytest.raises(OSError):  # noqa: PT011 - the fault above
        flow_run(lab, door, keep=keep)
    overwrite(lab.path)
    with pytest.raises(CorruptSnapshotError):
        door(lab.flow(*STEPS, keep=keep))


@pytest.mark.parametrize("keep", [3, "all"])
def test_damaged_while_the_run_goes_on(keep: Keep, door: Door, lab: Lab) -> None:
    """A failure after the file was damaged is told by the newest sound one, where it goes on."""
    cp = lab.flow("a", "b", fsync=False, keep=keep)

    def spoil(state: State) -> None:
        overwrite(lab.path)
        raise ConnectionError

    cp.add_step(name="c")(spoil)
    with pytest.raises(ConnectionError) as info:
        door(cp, {}, "always")
    assert len(info.value.__notes__) == 1
    header = LocalStateHandler(lab.path, keep=keep).header()
    assert header is not None
    assert (header.position, header.failure is None) == (1, False)
    assert flow_run(lab, door, keep=keep) == undisturbed()
