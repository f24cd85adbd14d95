"""Kept snapshots, values, sizes and differences, of today's stores and of older ones."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forged_snapshots import Canary
from looked_at import KINDS, STEPS, make_store, place_in
from run_factories import KINDS as HANDLERS

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, RunNotFoundError
from aiocheckpoint.look import open_store, store_of

if TYPE_CHECKING:
    from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden" / "history"
by_kind = pytest.mark.parametrize("kind", KINDS)


@by_kind
def test_history(kind: str, tmp_path: Path) -> None:
    """Each kept snapshot is listed once, the newest first, whatever `keep` a reader knows."""
    make_store(tmp_path, kind, keep="all")
    with open_store(place_in(tmp_path, kind)) as store:
        history = store.history("order-1", keys=True)
        assert [one.step for one in history] == [None, *reversed(STEPS)]
        assert [one.sequence for one in history] == [4, 3, 2, 1]
        assert [one.newest for one in history] == [True, False, False, False]
        assert {one.damage for one in history} == {None}
        assert [[key.key for key in one.keys or ()] for one in history] == [
            *(2 * [["n", "paid"]]),
            *(2 * [["n"]]),
        ]
        assert [one.keys for one in store.history("order-1")] == 4 * [None]
        assert [one.status for one in store.history("order-3")] == ["failed", "running"]
    json.dumps([one.to_json() for one in history])


@by_kind
def test_values_and_sizes(kind: str, tmp_path: Path) -> None:
    """Plain values are shown as they are, and others as placeholders that execute nothing."""
    more: dict[str, Any] = {"lines": [1, {"a": None}], "canary": Canary(tmp_path / "mark")}
    cp = make_store(tmp_path, kind, more=more)
    run = open_store(place_in(tmp_path, kind)).run("order-1", values=True, sizes=True)
    assert run.complete
    shown = {key.key: key for key in run.keys or ()}
    assert shown["lines"].value == more["lines"]
    assert (shown["paid"].type, shown["paid"].value) == ("int", 10)
    assert "$type" in shown["canary"].value
    assert run.sizes is not None
    assert run.sizes.keys() == shown.keys() == {"n", "paid", "lines", "canary"}
    assert not (tmp_path / "mark").exists()
    assert store_of(cp.handler).run("order-1", values=True) == open_store(
        place_in(tmp_path, kind)
    ).run("order-1", values=True)
    cp.handler.close()


@by_kind
def test_differences(kind: str, tmp_path: Path) -> None:
    """Two snapshots are compared by step, by number, or the two newest."""
    make_store(tmp_path, kind, keep="all")
    store = open_store(place_in(tmp_path, kind))
    found = store.diff("order-2", "charge", "invoice", values=True)
    (change,) = found.changes
    assert (change.path, change.kind, change.new, change.new_type) == ("paid", "added", 20, "int")
    assert (found.same, found.complete) == (("n",), True)
    assert (found.old.sequence, found.new.sequence) == (2, 3)
    assert store.diff("order-2", 2, 3, values=True) == found
    newest = store.diff("order-2")
    assert (newest.old.step, newest.new.step, newest.changes) == ("invoice", None, ())
    assert store.diff("order-2", "charge").new.sequence == 4
    assert store.diff("order-2", None, "invoice").old.sequence == 2
    assert store.diff("order-2", "reserve", "finished").changes[0].new is None
    for old, new in (("nothing", None), (9, None), (None, 1)):
        with pytest.raises(InvalidValueError, match="kept"):
            store.diff("order-2", old, new)
    with pytest.raises(InvalidTypeError):
        store.diff("order-2", 1.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(RunNotFoundError):
        store.diff("order-9")


def test_pickles_of_gumly(tmp_path: Path) -> None:
    """A bare pickle shows its position, its keys and that nothing else is known of it."""
    file = tmp_path / "checkpoint.pkl"
    file.write_bytes(pickle.dumps({"a": 1, "checkpoint_index": 2}))
    with open_store(file) as store:
        (listed,) = store.runs()
        run = store.run(None, values=True)
        assert (run.position, run.flow, run.library, run.verified) == (2, "", "", None)
        assert [(key.key, key.value) for key in run.keys or ()] == [("a", 1)]
        assert (listed.run_id, listed.status, listed.step) == (None, "stopped", None)
        assert [one.damage for one in store.verify()] == [None]


@pytest.mark.leaves_files
def test_stores_of_05(tmp_path: Path) -> None:
    """A database and files that 0.5 has written are looked into as they are."""
    for path in (GOLDEN / "0.5.0").iterdir():
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, tmp_path / path.name)
    before = (tmp_path / "runs.db").read_bytes()
    with open_store(tmp_path / "runs.db") as store:
        flows = store.flows()
        for flow in flows:
            runs = list(store.runs(flow=flow.flow))
            assert len(runs) == flow.total == store.count(flow=flow.flow).total
            assert [run.damage for run in runs if run.damage] == []
            assert all(store.history(run.run_id, flow=flow.flow, keys=True) for run in runs)
        assert [run.damage for run in store.verify() if run.damage] == []
    assert flows
    assert (tmp_path / "runs.db").read_bytes() == before
    with open_store(tmp_path / "keep-all.snapshot") as store:
        assert len(store.history(None, keys=True)) == 4
        assert store.diff(None).complete
    assert open_store(tmp_path / "signed.snapshot").run(None).verified is False
    assert "order-1" in {run.run_id for run in open_store(tmp_path / "beside.snapshot").runs()}


def test_a_directory_with_files_of_flows(tmp_path: Path) -> None:
    """Flows that were given a file each in one directory are found there, with their runs."""
    for name in ("a", "b"):
        cp = CheckpointFlow(tmp_path / f"{name}.pkl", fsync=False, keep=3)
        cp.add_step(name="only")(lambda state: None)
        cp.run({"n": 1})
        cp.run({"n": 2}, run_id="order-1")
    (tmp_path / "c.pkl").write_bytes((tmp_path / "a.pkl").read_bytes())
    with open_store(tmp_path) as store:
        assert [(flow.flow, flow.total) for flow in store.flows() if flow.flow] == [
            ("a", 3),  # A renamed file is damage.
            ("b", 2),
        ]
        assert {(run.flow, run.run_id) for run in store.runs() if not run.damage} == {
            (flow, run_id) for flow in ("a", "b") for run_id in (None, "order-1")
        }
        assert len(store.history("order-1", flow="b")) == 2
        assert store.run(None, flow="a", values=True).keys is not None


@pytest.mark.parametrize("kind", [kind for kind in HANDLERS if kind != "memory"])
def test_lists_are_those_of_the_flow(kind: str, tmp_path: Path) -> None:
    """A list has the order and the facts of `runs()` of the flow, also in small pages."""
    name = "database" if kind == "sqlite" else kind
    cp = make_store(tmp_path, name, 12)
    with pytest.MonkeyPatch.context() as patch:
        for constant in ("_LEAST_KEYS", "_MOST_KEYS", "_ROWS_AT_ONCE"):
            patch.setattr(f"aiocheckpoint.handlers._index_rows.{constant}", 3)
        store, headers = open_store(place_in(tmp_path, name)), cp.runs()
        assert [run.run_id for run in store.runs()] == [header.run_id for header in headers]
        assert [run.run_id for run in store.runs(limit=5)] == [
            header.run_id for header in headers[:5]
        ]
        wrote = sorted(headers, key=lambda one: one.written_at, reverse=True)
        assert [run.written_at for run in store.runs(sort="wrote")] == [
            header.written_at for header in wrote
        ]
        took = sorted((one.written_at - one.started_at for one in headers), reverse=True)
        assert [run.written_at - run.started_at for run in store.runs(sort="took")] == took
        assert len(list(store.verify())) == 12
    cp.handler.close()
