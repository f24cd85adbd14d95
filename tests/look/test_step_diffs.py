"""What changed in each step of a run, by its kept snapshots, of stores of each kind."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import Canary
from kept_snapshots import SECRET, kept_files
from looked_at import KINDS, STEPS, make_store, place_in

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.local._reader import LocalReader
from aiocheckpoint.look import DiffView, RunView, _step_diffs, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support import State

    from aiocheckpoint.handlers._found_runs import FoundRun

by_kind = pytest.mark.parametrize("kind", KINDS)
Told = list[tuple[str | None, str | None, list[tuple[str, str]]]]


def told(diffs: Sequence[DiffView] | None) -> Told:
    """The steps on whose entry two snapshots were taken, and kinds and paths of the changes."""
    assert diffs is not None
    return [
        (one.old.step, one.new.step, [(change.kind, change.path) for change in one.changes])
        for one in diffs
    ]


def looked(folder: Path, kind: str, run_id: str = "order-2", **options: Any) -> RunView:  # noqa: ANN401
    """Look at a run, without the code of its flow."""
    with open_store(place_in(folder, kind)) as store:
        asked: dict[str, Any] = {"diffs": True, **options}
        return store.run(run_id, **asked)


def diffs_of(run: RunView) -> list[DiffView]:
    """What changed in each step, which was asked for."""
    assert run.diffs is not None
    return list(run.diffs)


@by_kind
def test_a_finished_and_a_failed_run(kind: str, tmp_path: Path) -> None:
    """Each step is compared, the last one of a finished run too, and none that has not ended."""
    make_store(tmp_path, kind, keep="all")
    run = looked(tmp_path, kind)
    assert told(run.diffs) == [
        ("reserve", "charge", []),
        ("charge", "invoice", [("added", "paid")]),
        ("invoice", None, []),
    ]
    assert run.diffs is not None
    assert all(one.complete and not one.shown for one in run.diffs)
    assert [one.changes[0].new for one in run.diffs if one.changes] == [None]
    assert told(looked(tmp_path, kind, "order-3").diffs) == [("reserve", "charge", [])]
    assert looked(tmp_path, kind, diffs=False).diffs is None
    assert json.loads(json.dumps(run.to_json()))["diffs"][1]["changes"][0]["path"] == "paid"


@by_kind
def test_values_on_demand(kind: str, tmp_path: Path) -> None:
    """With values, plain ones are shown, and nothing of an object is executed."""
    cp = make_store(tmp_path, kind, keep="all", more={"canary": Canary(tmp_path / "mark")})
    diffs = looked(tmp_path, kind, values=True).diffs
    assert diffs is not None
    assert (diffs[1].shown, diffs[1].changes[0].new, diffs[1].same) == (True, 20, ("canary", "n"))
    assert not (tmp_path / "mark").exists()
    assert cp.show("order-2", values=True).diffs == diffs
    cp.handler.close()


@by_kind
@pytest.mark.parametrize("keep", [1, 2])
def test_few_kept_snapshots(kind: str, keep: int, tmp_path: Path) -> None:
    """Where one snapshot is kept there is nothing to compare, and of two, the last step."""
    cp = make_store(tmp_path, kind, keep=keep)
    assert told(looked(tmp_path, kind).diffs) == [("invoice", None, [])][: keep - 1]
    assert told(asyncio.run(cp.ashow("order-3")).diffs) == [("reserve", "charge", [])][: keep - 1]
    cp.handler.close()


@by_kind
def test_runs_that_were_steered(kind: str, tmp_path: Path) -> None:
    """A change by hand is between two entries, `checkpoint=` goes back, a new run begins anew."""
    cp = make_store(tmp_path, kind, keep="all")
    cp.patch({"n": 5}, run_id="order-3")
    patched = [("reserve", "charge", []), ("charge", "charge", [("changed", "n")])]
    assert told(cp.show("order-3").diffs) == patched
    cp.run(run_id="order-2", checkpoint="invoice")
    assert told(cp.show("order-2").diffs)[3:] == [
        (None, "invoice", []),
        ("invoice", None, []),
    ]
    cp.run(run_id="order-2", checkpoint="charge")
    assert told(cp.show("order-2").diffs)[5:] == [
        (None, "charge", [("removed", "paid")]),
        ("charge", "invoice", [("added", "paid")]),
        ("invoice", None, []),
    ]
    cp.run({"n": 0, "more": 1}, run_id="order-2", until="reserve")
    assert told(cp.show("order-2").diffs) == [("reserve", "charge", [])]
    cp.handler.close()


def test_an_earlier_run_is_left_out(tmp_path: Path) -> None:
    """With a number of snapshots, those of the run before are still kept, and not compared."""
    cp = make_store(tmp_path, "file", keep=6)
    cp.run({"n": 1}, run_id="order-2", until="reserve")
    assert [one.number for one in cp.history("order-2")] == [2, 2, 1, 1, 1, 1]
    assert told(cp.show("order-2").diffs) == [("reserve", "charge", [])]


@by_kind
def test_a_run_in_progress(kind: str, tmp_path: Path) -> None:
    """A step that looks at its own run sees the steps before."""
    cp = CheckpointFlow(place_in(tmp_path, kind), name="orders", fsync=False, keep="all")
    seen: list[RunView] = []

    @cp.add_step()
    def first(state: State) -> None:
        state["n"] = 1

    @cp.add_step()
    def second(state: State) -> None:
        state["n"] = 2
        seen.append(cp.show("x"))

    cp.run({}, run_id="x")
    assert told(seen[0].diffs) == [("first", "second", [("added", "n")])]
    cp.handler.close()


def many_steps(place: str) -> CheckpointFlow:
    """A flow of 30 steps, each of which adds a key."""
    cp = CheckpointFlow(place, name="orders", fsync=False, keep="all")
    for number in range(30):
        cp.add_step(name=f"s{number}")(lambda state, n=number: state.update({f"k{n}": n}))
    return cp


@by_kind
def test_bounds(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many snapshots the newest 20 are compared, and none when the time is over."""
    cp = many_steps(place_in(tmp_path, kind))
    cp.run({}, run_id="x")
    diffs = cp.show("x").diffs
    assert told(diffs)[::18] == [
        ("s11", "s12", [("added", "k11")]),
        ("s29", None, [("added", "k29")]),
    ]
    assert len(told(diffs)) == 19
    monkeypatch.setattr(_step_diffs, "_SECONDS", 0.0)
    assert cp.show("x").diffs == ()
    cp.handler.close()


def test_many_changes_of_a_step(tmp_path: Path) -> None:
    """Of one step so many changes are given, and the rest is said to be missing."""
    cp = CheckpointFlow(tmp_path / "x.pkl", fsync=False, keep=2)
    cp.add_step(name="only")(
        lambda state: state.update(dict.fromkeys(map(str, range(500)), "v" * 9_000))
    )
    cp.run({})
    (diff,) = diffs_of(cp.show(values=True))
    assert (len(diff.changes), diff.complete) == (200, False)
    assert len(json.dumps(diff.to_json())) < 1_000_000


def damage_kept(folder: Path, kind: str, sequence: int, *, header: bool) -> None:
    """Damage a kept snapshot of order-2: its state, or its header."""
    if kind == "database":
        column = "footer" if header else "payload"
        where = "WHERE sequence = ? AND run = (SELECT id FROM runs WHERE run_id = 'order-2')"
        with closing(sqlite3.connect(folder / KINDS[kind])) as database:
            ((found,),) = database.execute(f"SELECT {column} FROM kept {where}", (sequence,))  # noqa: S608
            damaged = found[:-9] if header else b"\x80\x05x" + found[3:]
            database.execute(f"UPDATE kept SET {column} = ? {where}", (damaged, sequence))  # noqa: S608
            database.commit()
        return
    (path,) = (one for one in folder.rglob(f"*order-2*.kept/1-{sequence}"))
    found = path.read_bytes()
    path.write_bytes(found[:-9] if header else b"\x80\x05x" + found[3:])


@by_kind
@pytest.mark.parametrize("header", [False, True], ids=["state", "header"])
def test_a_damaged_snapshot(kind: str, header: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """The diffs beside a snapshot that cannot be read say so, and the others are told."""
    make_store(tmp_path, kind, keep="all")
    damage_kept(tmp_path, kind, 2, header=header)
    run = looked(tmp_path, kind, values=True)
    assert (run.status, run.damage) == ("finished", None)
    first, second, third = diffs_of(run)
    assert (first.complete, second.complete, third.complete) == (False, False, True)
    assert first.new == second.old
    assert (first.new.sequence, first.new.status, first.changes) == (2, "damaged", ())
    assert first.new.damage
    assert first.old.damage is None
    assert (first.new.step is None) is header


def test_a_damaged_run(tmp_path: Path) -> None:
    """A run whose newest snapshot is damaged tells the steps before, if it tells its number."""
    make_store(tmp_path, "file", keep="all")
    path = next(one for one in tmp_path.iterdir() if "order-2" in one.name and one.is_file())
    found = path.read_bytes()
    path.write_bytes(b"\x80\x05x" + found[3:])
    run = looked(tmp_path, "file")
    assert run.status == "damaged"
    assert [one.complete for one in diffs_of(run)] == [True, True, False]
    path.write_bytes(found[:-9])
    assert looked(tmp_path, "file").diffs == ()


def test_a_snapshot_that_is_not_trusted(tmp_path: Path) -> None:
    """A kept snapshot without the signature is not decoded where the flow has a secret."""
    for folder in ("signed", "not"):
        (tmp_path / folder).mkdir()
    make_store(tmp_path / "signed", "file", keep="all", secret=SECRET)
    make_store(tmp_path / "not", "file", keep="all")
    forged, mine = (kept_of(tmp_path / folder, "order-2", 2) for folder in ("not", "signed"))
    shutil.copyfile(forged, mine)
    place = place_in(tmp_path / "signed", "file")
    with open_store(place, secret=SECRET) as store:
        run = store.run("order-2", diffs=True)
    assert run.verified
    assert [one.complete for one in diffs_of(run)] == [False, False, True]
    assert "sign" in (diffs_of(run)[0].new.damage or "")
    with open_store(place, secret="another " * 8) as store:
        other = store.run("order-2", diffs=True, values=True)
    assert [(one.complete, one.changes) for one in diffs_of(other)] == 3 * [(False, ())]
    assert [one.complete for one in diffs_of(looked(tmp_path / "signed", "file"))] == 3 * [True]


def kept_of(folder: Path, run_id: str, sequence: int) -> Path:
    """The file of a kept snapshot of a run."""
    path = next(one for one in folder.iterdir() if run_id in one.name and one.is_file())
    return next(one for one in kept_files(path) if one.name.endswith(f"-{sequence}"))


def test_a_snapshot_that_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshots beside it are compared with each other: the diff is of two steps."""
    make_store(tmp_path, "file", keep="all")
    opened = LocalReader.open

    def pruned(reader: LocalReader, run: FoundRun) -> Any:  # noqa: ANN401
        return None if run.kept == (1, 2) and is_read else opened(reader, run)

    is_read = False
    monkeypatch.setattr(LocalReader, "open", pruned)
    assert len(diffs_of(looked(tmp_path, "file"))) == len(STEPS)
    listed = LocalReader.snapshots

    def snapshots(reader: LocalReader, *arguments: Any) -> list[FoundRun]:  # noqa: ANN401
        nonlocal is_read
        found = listed(reader, *arguments)
        is_read = True
        return found

    monkeypatch.setattr(LocalReader, "snapshots", snapshots)
    assert told(looked(tmp_path, "file").diffs)[0] == ("reserve", "invoice", [("added", "paid")])
