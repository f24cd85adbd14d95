"""With `keep=`, the newest sound snapshot replaces a damaged one, with a warning."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from kept_snapshots import (
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
from support import FlowFactory, Runner, State, dump_bare

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
    """Return the texts of the warnings that the library logged."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "aiocheckpoint"
    ]


def check_warned(
    flows: FlowFactory, caplog: pytest.LogCaptureFixture, kind: type[CheckpointError]
) -> None:
    """Check that a run warned of the snapshot it skipped, once, before it started."""
    kinds = [type(event) for event in flows.events]
    assert kinds.count(SnapshotSkipped) == 1
    assert kinds.index(SnapshotSkipped) < kinds.index(RunStarted)
    skipped = next(event for event in flows.events if isinstance(event, SnapshotSkipped))
    assert isinstance(skipped.error, kind)
    assert str(flows.path) in str(skipped.error)
    (warning,) = warnings_in(caplog)
    assert warning.startswith("An older snapshot is used, since this one cannot be: ")
    if isinstance(skipped.error, CorruptSnapshotError):  # Its remedies are of no use here.
        assert warning.endswith(f"{skipped.error.reason}.")
    else:
        assert str(skipped.error) in warning


@pytest.mark.parametrize(
    ("damage", "keep"), [*((damage, 2) for damage in DAMAGES), ("cut", 3), ("cut", "all")]
)
def test_run_resumes_from_the_newest_sound(
    damage: str, keep: Keep, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The step of the damaged snapshot runs again, and the result is that of an undisturbed run."""
    stop_after(flows, "c", keep=keep)
    DAMAGES[damage](flows.path)
    assert flow_run(flows, runner, keep=keep) == undisturbed()
    assert flows.ran() == ["c", "d"]
    check_warned(flows, caplog, CorruptSnapshotError)
    assert flows.stored() == {**undisturbed(), "checkpoint_index": 0}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_newest_is_passed_over(
    forgery: str, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot not signed for this run is rejected with `keep` as without."""
    stop_after(flows, "c", keep=3, secret=SECRET)
    FORGERIES[forgery](flows.path)
    assert flow_run(flows, runner, keep=3, secret=SECRET) == undisturbed()
    assert flows.ran() == ["c", "d"]
    check_warned(flows, caplog, UntrustedSnapshotError)


def test_forged_older_one_is_passed_over_too(runner: Runner, flows: FlowFactory) -> None:
    """The search for a sound snapshot rejects every unsigned one, also among the kept ones."""
    stop_after(flows, "c", keep="all", secret=SECRET)
    start, after_a, *others = kept_files(flows.path)
    for path in others:
        dump_bare(path, {"trail": ["forged"], "checkpoint_index": 3})
    flows.path.write_bytes(others[-1].read_bytes())
    after_a.write_bytes(start.read_bytes())  # sound, and another run's
    flow_run(flows, runner, keep="all", secret=SECRET)
    assert flows.ran() == list(STEPS)


def test_secret_lost_and_found_again(runner: Runner, flows: FlowFactory) -> None:
    """Another secret rejects every snapshot. The old secret then accepts them again."""
    stop_after(flows, "c", keep=3, secret=SECRET)
    before = flows.files()
    with pytest.raises(UntrustedSnapshotError):
        flow_run(flows, runner, keep=3, secret=OTHER_SECRET)
    assert (flows.log, flows.files()) == ([], before)
    assert flow_run(flows, runner, keep=3, secret=[OTHER_SECRET, SECRET]) == undisturbed()
    assert flows.ran() == ["d"]


def test_plan_skips_and_warns(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan starts at the run's snapshot, gives the same warning, and changes nothing."""
    stop_after(flows, "c", keep=3)
    overwrite(flows.path)
    before = flows.files()
    plan = runner.plan(flows.flow(*STEPS, keep=3))
    assert (plan.start, plan.source, plan.fresh) == (2, "stored", False)
    assert len(warnings_in(caplog)) == 1
    assert flows.files() == before


def test_read_skips_and_warns(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler's read returns the newest sound state with its position, and warns."""
    stop_after(flows, "c", keep=3)
    overwrite(flows.path)
    before = flows.files()
    state = runner.read(LocalStateHandler(flows.path, keep=3))
    assert (state["trail"], state["checkpoint_index"]) == (["a", "b"], 2)
    assert len(warnings_in(caplog)) == 1
    assert flows.files() == before


def test_patch_of_what_was_read(runner: Runner, flows: FlowFactory) -> None:
    """A state read in place of a damaged one, edited and written back, is resumed."""
    stop_after(flows, "c", keep=3)
    overwrite(flows.path)
    handler = LocalStateHandler(flows.path, keep=3, fsync=False)
    runner.write(handler, {**runner.read(handler), "patched": True})
    assert flow_run(flows, runner, keep=3) == {**undisturbed(), "patched": True}
    assert flows.ran() == ["c", "d"]


@pytest.mark.parametrize("corrupted", [1, 2, 3])
def test_several_in_a_row(
    corrupted: int, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """With several damaged snapshots, the newest sound one is used, with one warning."""
    stop_after(flows, "c", keep=4)
    for path in kept_files(flows.path)[-corrupted:]:
        overwrite(path)
    assert flow_run(flows, runner, keep=4) == undisturbed()
    assert flows.ran() == list(STEPS[3 - corrupted :])
    check_warned(flows, caplog, CorruptSnapshotError)


def test_only_an_older_one_is_damaged(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A sound newest snapshot is used without a warning, even if older ones are damaged."""
    stop_after(flows, "c", keep=4)
    for path in kept_files(flows.path)[:-1]:
        overwrite(path)
    assert flow_run(flows, runner, keep=4) == undisturbed()
    assert flows.ran() == ["d"]
    assert warnings_in(caplog) == []


def test_damage_is_past_after_the_run(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that skipped a damaged snapshot leaves sound ones only. The next run does not warn."""
    stop_after(flows, "c", keep=2)
    overwrite(flows.path)
    flow_run(flows, runner, keep=2)
    caplog.clear()
    flow_run(flows, runner, keep=2)
    assert warnings_in(caplog) == []
    assert len(kept_names(flows.path)) == 2


@pytest.mark.parametrize("corrupt", ["alike", "each otherwise"])
def test_all_damaged(corrupt: str, any_runner: Runner, flows: FlowFactory) -> None:
    """With no sound snapshot the newest one's error is raised, and nothing changes or runs."""
    stop_after(flows, "c", keep=3)
    for number, path in enumerate(kept_files(flows.path)):
        path.write_bytes(b"x" * (1 if corrupt == "alike" else number + 1))
    flows.path.unlink()
    flows.path.write_bytes(b"\x80\x04.")
    before = flows.files()
    for use in (flow_run, plan_only, read_only):
        with pytest.raises(CorruptSnapshotError) as info:
            use(flows, any_runner, keep=3)
        assert info.value.path == str(flows.path)
        assert "kept" not in info.value.path
    assert (flows.log, flows.files()) == ([], before)


def plan_only(flows: FlowFactory, runner: Runner, keep: Keep) -> None:
    """Make the plan, and raise the error that it foretells."""
    refused = runner.plan(flows.flow(*STEPS, keep=keep)).refused
    assert refused is not None
    raise refused


def read_only(flows: FlowFactory, runner: Runner, keep: Keep) -> None:
    """Read the stored state."""
    runner.read(LocalStateHandler(flows.path, keep=keep))


def test_another_file_at_its_path_loses_nothing(runner: Runner, flows: FlowFactory) -> None:
    """A file that was replaced, and not overwritten, keeps its state under its second name."""
    stop_after(flows, "c", keep=3)
    flows.path.unlink()
    flows.path.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert flow_run(flows, runner, keep=3) == undisturbed()
    assert flows.ran() == ["d"]


def test_finished_one_is_damaged(runner: Runner, flows: FlowFactory) -> None:
    """A damaged snapshot of the end makes the last step run again, and no other."""
    flow_run(flows, runner, keep=2)
    flows.log.clear()
    overwrite(flows.path)
    assert flow_run(flows, runner, keep=2) == undisturbed()
    assert flows.ran() == ["d"]
    assert flows.header().number == 1


@pytest.mark.parametrize("keep", [3, "all"])
@pytest.mark.parametrize("way", ["emptied", "deleted", "replaced by an empty one"])
def test_empty_or_missing_is_nothing_stored(
    way: str, keep: Keep, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty or deleted file means a fresh start, which deletes all kept snapshots."""
    stop_after(flows, "c", keep=keep)
    take_away(flows.path, way)
    assert runner.read(LocalStateHandler(flows.path, keep=2)) == {}
    assert runner.plan(flows.flow(*STEPS, keep=keep)).reason == "nothing is stored yet"
    flow_run(flows, runner, keep=keep)
    assert flows.ran() == list(STEPS)
    expected = [f"1-{sequence}" for sequence in range(1, 6)]
    assert kept_names(flows.path) == expected[-5 if keep == "all" else -int(keep) :]
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
def test_no_way_back_behind_a_fresh_start(
    way: str, keep: Keep, runner: Runner, flows: FlowFactory
) -> None:
    """A kept snapshot of a removed file never replaces a later one."""
    stop_after(flows, "c", keep=keep)
    take_away(flows.path, way)
    flows.faults["load a"] = OSError()
    with pytest.raises(OSError):  # noqa: PT011 - the fault above
        flow_run(flows, runner, keep=keep)
    overwrite(flows.path)
    with pytest.raises(CorruptSnapshotError):
        runner(flows.flow(*STEPS, keep=keep))


@pytest.mark.parametrize("keep", [3, "all"])
def test_damaged_during_the_run(keep: Keep, runner: Runner, flows: FlowFactory) -> None:
    """A failure after the file was damaged is recorded after the newest sound snapshot."""
    cp = flows.flow("a", "b", fsync=False, keep=keep)

    def corrupt(state: State) -> None:
        overwrite(flows.path)
        raise ConnectionError

    cp.add_step(name="c")(corrupt)
    with pytest.raises(ConnectionError) as info:
        runner(cp, {}, "always")
    assert len(info.value.__notes__) == 1
    header = LocalStateHandler(flows.path, keep=keep).header()
    assert header is not None
    assert (header.position, header.failure is None) == (1, False)
    assert flow_run(flows, runner, keep=keep) == undisturbed()
