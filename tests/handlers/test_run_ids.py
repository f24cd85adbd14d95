"""One flow, many runs: each run id has its own snapshot, for any source of the id."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from support import NAMES, FlowFactory, Runner, State

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    current_step,
)

if TYPE_CHECKING:
    from pathlib import Path

ODD_IDS = [
    *("../x", "..", "/abs/olute", "a/b", "a\\b", "nul\0", "new\nline", "*", "?", "~", " ", "."),
    *("CON", "con", "A", "a", "%41", "%", "é", "e\u0301", "\ud800", "x" * 300, "x" * 301, "a.pkl"),
]


def read(flows: FlowFactory, run_id: str | None) -> State:
    """Read the stored state of one run."""
    return LocalStateHandler(flows.path).read(run_id)


def test_runs_go_on_side_by_side(runner: Runner, flows: FlowFactory) -> None:
    """Runs of different ids start, stop and resume independently."""
    cp = flows.flow()
    runner(cp, {"who": "one"}, run_id="one", until="a")
    runner(cp, {"who": "two"}, run_id="two", until="b")
    runner(cp, {"who": "none"})
    assert runner.plan(cp, run_id="one").start == 1
    assert runner.plan(cp, run_id="two").start == 2
    assert runner.plan(cp).start == 0
    assert runner(cp, run_id="one")["trail"] == list(NAMES)
    assert [read(flows, run_id)["who"] for run_id in ("one", "two", None)] == ["one", "two", "none"]
    assert read(flows, "two")["checkpoint_index"] == 2
    assert read(flows, "three") == {}


def test_header_names_the_run(runner: Runner, flows: FlowFactory) -> None:
    """The header holds the run id itself. A run without an id has none in its header."""
    runner(flows.flow(), run_id="../Ödd")
    runner(flows.flow())
    handler = LocalStateHandler(flows.path)
    headers = [handler.header("../Ödd"), handler.header()]
    assert [header and header.run_id for header in headers] == ["../Ödd", None]


def test_reset_forgets_one_run_only(flows: FlowFactory) -> None:
    """A reset with an id leaves the other runs alone."""
    cp = flows.flow()
    cp.run({"who": "one"}, run_id="one", until="a")
    cp.run({"who": "none"}, until="a")
    cp.reset(run_id="one")
    assert (read(flows, "one"), read(flows, None)["who"]) == ({}, "none")
    asyncio.run(cp.areset())
    assert read(flows, None) == {}


async def test_many_runs_of_one_flow_at_once(flows: FlowFactory) -> None:
    """Runs of different ids run at the same time in one process, each with its own data."""
    cp = CheckpointFlow(flows.path, fsync=False)
    meet = asyncio.Barrier(20)

    @cp.add_step()
    async def arrive(state: State, data: State) -> None:
        data["mine"] = state["n"]
        await meet.wait()

    @cp.add_step()
    def leave(state: State, data: State) -> None:
        state["left"] = data["mine"]

    runs = [cp.arun({"n": n}, run_id=f"run {n}") for n in range(20)]
    assert [state["left"] for state in await asyncio.gather(*runs)] == list(range(20))


def test_odd_ids_never_meet_and_never_leave_the_directory(tmp_path: Path) -> None:
    """The file of any id is in the checkpoint's directory, and no two ids share one."""
    place = tmp_path / "deep" / "place"
    flows = FlowFactory(place / "checkpoint.pkl")
    cp = flows.flow("a", fsync=False)
    for number, run_id in enumerate(ODD_IDS):
        cp.run({"n": number}, run_id=run_id)
    assert [read(flows, run_id)["n"] for run_id in ODD_IDS] == list(range(len(ODD_IDS)))
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["place"]
    folded = {path.name.casefold() for path in place.iterdir() if path.is_file()}
    assert len(folded) == len(list(place.iterdir())) == len(ODD_IDS)


@pytest.mark.parametrize(
    ("source", "target"),
    [("one", "two"), ("one", None), (None, "two"), ("order-1", "order-2"), ("a1", "a10")],
    ids=str,
)
def test_another_runs_file_is_refused(
    source: str | None, target: str | None, runner: Runner, flows: FlowFactory
) -> None:
    """A snapshot copied over another run's is detected, and nothing runs."""
    cp, handler = flows.flow(), LocalStateHandler(flows.path)
    for run_id in (source, target):
        runner(cp, run_id=run_id, until="a")
    flows.log.clear()
    shutil.copy(handler.locate(source), handler.locate(target))
    with pytest.raises(CheckpointError, match="run"):
        runner(cp, run_id=target)
    assert flows.log == []


@pytest.mark.parametrize("run_id", [5, b"one", ["one"]], ids=repr)
def test_id_of_another_type(run_id: object, runner: Runner, flows: FlowFactory) -> None:
    """An id that is no string raises a TypeError of the library."""
    with pytest.raises(InvalidTypeError, match="run_id"):
        runner(flows.flow(), run_id=run_id)
    assert (flows.log, flows.files()) == ([], {})


def test_empty_id_is_refused(runner: Runner, flows: FlowFactory) -> None:
    """An empty id, most likely a mistake, raises a ValueError of the library."""
    with pytest.raises(InvalidValueError, match="run_id"):
        runner(flows.flow(), run_id="")
    assert (flows.log, flows.files()) == ([], {})


PAIR = "\ud83d\ude00"
"""Two surrogates that JSON, and so a header, gives back as one character."""


@pytest.mark.parametrize("run_id", [PAIR, f"a{PAIR}b"], ids=ascii)
def test_two_surrogates_for_one_character(run_id: str, runner: Runner, flows: FlowFactory) -> None:
    """An id that would be one with another in headers is refused. The error gives the other."""
    cp, same = flows.flow("a", fsync=False), run_id.encode("utf-16", "surrogatepass")
    calls = (
        lambda: runner(cp, run_id=run_id),
        lambda: cp.read(run_id),
        lambda: cp.plan(run_id=run_id),
        lambda: cp.handler.locate(run_id),
    )
    for call in calls:
        with pytest.raises(InvalidValueError, match="surrogates"):
            call()
    assert flows.files() == {}
    runner(cp, {"n": 1}, run_id=same.decode("utf-16"))
    assert [header.run_id for header in cp.runs()] == [same.decode("utf-16")]


@pytest.mark.parametrize("place", ["runs/", "sqlite:///r.db"])
def test_ids_with_one_surrogate(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner
) -> None:
    """Ids that differ in surrogates are different runs, each in the list with a key of its own."""
    monkeypatch.chdir(tmp_path)
    ids = ["\ud83d", "\ude00", "\ude00\ud83d", "😀", "\ud83d ", "?"]
    keys = set[str]()
    cp = CheckpointFlow(place, fsync=False)
    cp.add_step(name="a")(lambda state: keys.add(current_step().idempotency_key))
    for run_id in ids:
        runner(cp, {"n": run_id}, run_id=run_id)
    assert sorted(str(header.run_id) for header in cp.runs()) == sorted(ids)
    assert [cp.read(run_id)["n"] for run_id in ids] == ids
    assert len(keys) == len(ids)


@pytest.mark.parametrize("name", [PAIR, "a\0b", "x" * 1001], ids=ascii)
def test_names_of_flows_that_cannot_be_told_apart(name: str, tmp_path: Path) -> None:
    """A flow's name is refused if it would be one with another, holds a NUL, or is very long."""
    for make in (
        lambda: CheckpointFlow(tmp_path / "c.pkl", name=name),
        lambda: LocalStateHandler(tmp_path / "c.pkl", flow=name),
    ):
        with pytest.raises(InvalidValueError, match="name of a flow"):
            make()
