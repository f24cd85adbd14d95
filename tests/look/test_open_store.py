"""A store is opened to look at it: its flows, runs and counts, as its files have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, RunNotFoundError, SeveralFlowsError, StorageError
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

PLACES = ["runs/", "checkpoint.pkl", "sqlite:///runs.db"]


def make_runs(place: str, name: str | None = None) -> CheckpointFlow:
    """Store three finished runs and one that failed in its second step."""
    cp = CheckpointFlow(place, fsync=False, name=name)

    @cp.add_step()
    def reserve(state: State) -> None:
        state["reserved"] = True

    @cp.add_step()
    def charge(state: State) -> None:
        if state["n"] == 3:
            raise TimeoutError("no answer")

    for n in range(4):
        try:
            cp.run({"n": n}, run_id=f"order-{n}")
        except TimeoutError:
            continue
    return cp


@pytest.fixture(params=PLACES, ids=["directory", "file", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of each kind, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return str(request.param)


def test_flows_runs_and_counts(place: str) -> None:
    """A store shows its flow, its runs from the last begun on, and their numbers."""
    cp = make_runs(place)
    with open_store(place) as store:
        (flow,) = store.flows()
        assert (flow.flow, flow.counts) == (cp.handler.flow, {"finished": 3, "failed": 1})
        assert flow.steps == ("reserve", "charge")
        runs = list(store.runs())
        assert [run.run_id for run in runs] == ["order-3", "order-2", "order-1", "order-0"]
        assert [run.run_id for run in store.runs(limit=1)] == ["order-3"]
        counts = store.count(("status", "step", "error"))
        assert counts.rows == (
            (("finished", None, None), 3),
            (("failed", "charge", "builtins.TimeoutError"), 1),
        )


def test_one_run(place: str) -> None:
    """A run shows how far each of its steps is, and JSON of it is plain."""
    make_runs(place)
    run = open_store(place).run("order-3")
    assert run.failure is not None
    assert [(step.name, step.status) for step in run.steps] == [
        ("reserve", "done"),
        ("charge", "failed"),
    ]
    assert (run.status, run.step, run.tries) == ("failed", "charge", 1)
    assert json.loads(json.dumps(run.to_json()))["failure"]["type"] == "builtins.TimeoutError"


def test_named(tmp_path: Path) -> None:
    """A store says which one it is."""
    CheckpointFlow(tmp_path / "o.db", "sqlite", name="orders").handler.write({})
    with open_store(f"{tmp_path}/o.db") as store:
        assert repr(store) == f"<Store of {store.place}>"
        assert "o.db" in store.place


def test_nothing_there(place: str) -> None:
    """A store that is not there is refused at once, and so is a run that is not stored."""
    with pytest.raises(StorageError, match="nothing is stored"):
        open_store(place if place != "runs/" else "missing/")
    make_runs(place)
    with pytest.raises(RunNotFoundError):
        open_store(place).run("order-9")


def test_several_flows(tmp_path: Path) -> None:
    """Of a database with several flows, a list needs the name of one."""
    place = f"sqlite:///{tmp_path / 'runs.db'}"
    make_runs(place, "orders")
    make_runs(place, "refunds")
    store = open_store(place)
    assert [flow.flow for flow in store.flows()] == ["orders", "refunds"]
    with pytest.raises(SeveralFlowsError) as caught:
        store.run("order-1")
    assert caught.value.flows == ("orders", "refunds")
    assert store.run("order-1", flow="refunds").flow == "refunds"
