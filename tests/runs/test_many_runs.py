"""One flow object, many runs side by side, each with its own state, header and result."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING

import pytest
from run_factories import Runs, active_run, ids, listed, resume_all
from support import NAMES, Runner, State

from aiocheckpoint import CheckpointError, RunInProgressError
from aiocheckpoint.handlers import _identifiers

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow

LONG = "é" * 1_000
ODD_IDS = [
    *("../x", "..", "/abs/olute", "a/b", "a\\b", "nul\0", "nul", "nul\0\0", "new\nline", "*", "~"),
    *("CON", "con", "A", "a", " ", "a ", "'", "''", '"; DROP TABLE runs; --', "%41", "?", "-1"),
    *("é", "e\u0301", "ß", "ss", "\ud800", "\udfff", "\ufeff", "1", "01", "1.0"),
    *("x" * 999, "x" * 1_000, LONG, unicodedata.normalize("NFD", "é" * 500)),
]
LOCATIONS = ("sqlite", "directory", "pattern", "memory")


@pytest.fixture(params=LOCATIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    """Return every kind of storage in turn, and files beside a file too."""
    return Runs.at(tmp_path, request.param)


async def test_runs_of_one_flow_at_once(place: Runs) -> None:
    """Fifty runs meet in their steps, and no run sees data of another in its dicts."""
    cp, meet = place.empty_flow(), asyncio.Barrier(50)

    @cp.add_step(load=lambda state: {"mine": state["n"]})
    async def arrive(state: State, data: State) -> None:
        await meet.wait()
        state["seen"] = [state["n"], data["mine"], len(state), len(data)]

    @cp.add_step()
    async def leave(state: State, data: State) -> None:
        await meet.wait()
        state["left"] = data["mine"]

    runs = [cp.arun({"n": n}, run_id=f"run-{n}") for n in range(50)]
    states = await asyncio.gather(*runs)
    assert states == [{"n": n, "seen": [n, n, 1, 1], "left": n} for n in range(50)]
    stored = [await cp.aread(f"run-{n}") for n in range(50)]
    assert stored == [{**state, "checkpoint_index": 0} for state in states]


def test_nothing_of_a_run_stays_on_the_flow(place: Runs, runner: Runner) -> None:
    """A new flow object resumes any of the runs. The attributes of the old one did not change."""
    cp = place.flow()
    before = dict(vars(cp))
    for number, run_id in enumerate(("one", "two", None)):
        runner(cp, {"n": number}, run_id=run_id, until="a")
    assert vars(cp) == before
    for number, run_id in enumerate(("one", "two", None)):
        assert runner(place.flow(), run_id=run_id)["n"] == number


def test_run_without_id_beside_others(place: Runs, runner: Runner) -> None:
    """The run without an id is listed, read, patched and deleted like the others."""
    cp = place.flow()
    for run_id in ("x", None, "y"):
        runner(cp, {"who": run_id}, run_id=run_id, until="a")
    assert listed(runner, cp) == ["y", None, "x"]
    runner.do(cp, "patch", {"who": "nobody"})
    assert [runner.do(cp, "read", one)["who"] for one in ("x", None, "y")] == ["x", "nobody", "y"]
    runner.reset(cp)
    assert runner.do(cp, "read") == {}
    assert listed(runner, cp) == ["y", "x"]


def test_every_method_takes_the_run(place: Runs, runner: Runner) -> None:
    """Every method of one run leaves all others alone."""
    cp = place.flow()
    for run_id in ("x", "y", "z"):
        runner(cp, {}, run_id=run_id, until="b")
    assert runner.plan(cp, run_id="x").start == 2
    assert runner.plan(cp, run_id="new").start == 0
    runner.do(cp, "patch", {}, "a", run_id="x")
    runner.do(cp, "reset", run_id="y")
    assert [runner.plan(cp, run_id=one).start for one in ("x", "y", "z")] == [0, 0, 2]
    assert runner.do(cp, "delete", "z") is True
    assert runner.do(cp, "delete", "z") is False
    assert listed(runner, cp) == ["x"]


@pytest.mark.parametrize("run_id", ["order-42", "\ud800", LONG], ids=["plain", "odd", "long"])
def test_second_run_of_an_id_is_refused(run_id: str, place: Runs, runner: Runner) -> None:
    """During a run every other writer of its id is refused, and other ids are free."""
    cp = place.flow()
    with active_run(place.empty_flow(), run_id, {"who": "first"}):
        for act in (
            lambda: runner(cp, run_id=run_id),
            lambda: runner.do(cp, "patch", {}, run_id=run_id),
            lambda: runner.do(cp, "reset", run_id=run_id),
            lambda: runner.do(cp, "delete", run_id),
        ):
            with pytest.raises(RunInProgressError):
                act()
        assert runner.do(cp, "read", run_id)["who"] == "first"
        assert runner(cp, run_id="another")["trail"] == list(NAMES)
    assert runner.do(cp, "read", run_id) == {"who": "first", "checkpoint_index": 0}


def test_odd_ids_are_all_different(place: Runs, runner: Runner) -> None:
    """No two odd ids share anything, and each id is read back unchanged."""
    assert len(set(ODD_IDS)) == len(ODD_IDS)
    cp = place.flow("a", "b")
    for number, run_id in enumerate(ODD_IDS):
        runner(cp, {"n": number}, run_id=run_id, until="a")
    assert [runner.do(cp, "read", run_id)["n"] for run_id in ODD_IDS] == [*range(len(ODD_IDS))]
    found = runner.do(cp, "runs")
    assert ids(found) == ODD_IDS[::-1]
    assert [runner(cp, run_id=run_id)["n"] for run_id in ODD_IDS] == [*range(len(ODD_IDS))]
    for run_id in ODD_IDS[::2]:
        assert runner.do(cp, "delete", run_id)
    assert [runner.do(cp, "read", run_id).get("n") for run_id in ODD_IDS[1::2]] == [
        *range(1, len(ODD_IDS), 2)
    ]


@pytest.mark.parametrize("kind", ["sqlite", "directory"])
def test_a_stored_id_of_joined_surrogates(
    kind: str, tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run stored by 0.5 under an id that is now refused is left out, and breaks no list."""
    place, odd = Runs.at(tmp_path, kind), "\ud83d\ude00"
    with monkeypatch.context() as earlier:
        earlier.setattr(_identifiers, "joins_in_json", lambda _: False)
        for run_id in (odd, "other"):
            runner(place.flow(), {}, run_id=run_id, until="a")
    assert listed(runner, place.flow()) == ["other"]
    assert set(resume_all(place.flow())) == {"other"}


def make_flows(place: Runs) -> dict[str, CheckpointFlow]:
    """Make two flows in one location: a database by their names, files by their patterns."""
    if place.kind == "sqlite":
        return {name: place.flow(name=name) for name in ("orders", "mails")}
    pairs = [(name, Runs(place.path / f"{name}.pkl", kind="pattern")) for name in ("orders", "m")]
    return {name: flows.flow() for name, flows in pairs}


def test_flows_share_a_location(durable_runs: Runs, runner: Runner) -> None:
    """Flows of several names in one database, or one directory, have their own runs."""
    flows = make_flows(durable_runs)
    for name, cp in flows.items():
        runner(cp, {"of": name}, run_id="same", until="a")
        runner(cp, {"of": name}, run_id=f"only {name}", until="a")
    for name, cp in flows.items():
        assert listed(runner, cp) == [f"only {name}", "same"]
        assert runner.do(cp, "read", "same")["of"] == name
    one, other = flows.values()
    assert runner.do(one, "prune", 0, ["stopped"]) == 2
    assert (len(runner.do(one, "runs")), len(runner.do(other, "runs"))) == (0, 2)


def test_flow_of_another_name_is_not_signed_for(database: Runs, runner: Runner) -> None:
    """Under a secret, a snapshot of one flow is refused by a flow of another name."""
    secret = "s" * 32
    runner(database.flow(name="one", secret=secret), {"n": 1}, run_id="x", until="a")
    other = database.flow(name="other", secret=secret)
    assert runner.do(other, "read", "x") == {}
    assert listed(runner, other) == []


async def test_two_runs_of_one_id_race(place: Runs) -> None:
    """Of two runs started together, one runs and one is refused. Each step runs once."""
    cp, ran, refused = place.empty_flow(), 0, asyncio.Event()

    @cp.add_step()
    async def count(state: State) -> None:
        nonlocal ran
        ran += 1
        await refused.wait()  # otherwise the second run could start after the first has ended

    async def start() -> CheckpointError | State:
        try:
            return await cp.arun({}, run_id="x")
        except CheckpointError as error:
            refused.set()
            return error

    results = await asyncio.gather(start(), start())
    assert {type(one) for one in results} == {dict, RunInProgressError}
    assert ran == 1
