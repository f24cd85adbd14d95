"""One flow, many runs: each run id has its own snapshot, wherever its name comes from."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from support import NAMES, Door, Lab, State

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
)

if TYPE_CHECKING:
    from pathlib import Path

ODD_IDS = [
    *("../x", "..", "/abs/olute", "a/b", "a\\b", "nul\0", "new\nline", "*", "?", "~", " ", "."),
    *("CON", "con", "A", "a", "%41", "%", "é", "e\u0301", "\ud800", "x" * 300, "x" * 301, "a.pkl"),
]


def read(lab: Lab, run_id: str | None) -> State:
    """Read what one run has stored."""
    return LocalStateHandler(lab.path).read(run_id)


def test_runs_go_on_side_by_side(door: Door, lab: Lab) -> None:
    """Runs of different ids start, stop and resume each for itself."""
    cp = lab.flow()
    door(cp, {"who": "one"}, run_id="one", until="a")
    door(cp, {"who": "two"}, run_id="two", until="b")
    door(cp, {"who": "none"})
    assert door.plan(cp, run_id="one").start == 1
    assert door.plan(cp, run_id="two").start == 2
    assert door.plan(cp).start == 0
    assert door(cp, run_id="one")["trail"] == list(NAMES)
    assert [read(lab, run_id)["who"] for run_id in ("one", "two", None)] == ["one", "two", "none"]
    assert read(lab, "two")["checkpoint_index"] == 2
    assert read(lab, "three") == {}


def test_header_names_the_run(door: Door, lab: Lab) -> None:
    """The header holds the real id; a run without one has none."""
    door(lab.flow(), run_id="../Ödd")
    door(lab.flow())
    handler = LocalStateHandler(lab.path)
    headers = [handler.header("../Ödd"), handler.header()]
    assert [header and header.run_id for header in headers] == ["../Ödd", None]


def test_reset_forgets_one_run_only(lab: Lab) -> None:
    """A reset with an id leaves the other runs alone."""
    cp = lab.flow()
    cp.run({"who": "one"}, run_id="one", until="a")
    cp.run({"who": "none"}, until="a")
    cp.reset(run_id="one")
    assert (read(lab, "one"), read(lab, None)["who"]) == ({}, "none")
    asyncio.run(cp.areset())
    assert read(lab, None) == {}


async def test_many_runs_of_one_flow_at_once(lab: Lab) -> None:
    """Runs of different ids go on at the same time in one process, each with its own data."""
    cp = CheckpointFlow(lab.path, fsync=False)
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
    """Whatever an id looks like, its file lies beside the others, and no two share one."""
    place = tmp_path / "deep" / "place"
    lab = Lab(place / "checkpoint.pkl")
    cp = lab.flow("a", fsync=False)
    for number, run_id in enumerate(ODD_IDS):
        cp.run({"n": number}, run_id=run_id)
    assert [read(lab, run_id)["n"] for run_id in ODD_IDS] == list(range(len(ODD_IDS)))
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["place"]
    folded = {path.name.casefold() for path in place.iterdir() if path.is_file()}
    assert len(folded) == len(list(place.iterdir())) == len(ODD_IDS)


@pytest.mark.parametrize(
    ("source", "target"), [("one", "two"), ("one", None), (None, "two")], ids=str
)
def test_another_runs_file_is_refused(
    source: str | None, target: str | None, door: Door, lab: Lab
) -> None:
    """A snapshot copied over another run's is found out, and nothing runs."""
    cp, handler = lab.flow(), LocalStateHandler(lab.path)
    for run_id in (source, target):
        door(cp, run_id=run_id, until="a")
    lab.log.clear()
    shutil.copy(handler.locate(source), handler.locate(target))
    with pytest.raises(CheckpointError, match="run"):
        door(cp, run_id=target)
    assert lab.log == []


@pytest.mark.parametrize("run_id", [5, b"one", ["one"]], ids=repr)
def test_id_of_another_type(run_id: object, door: Door, lab: Lab) -> None:
    """An id that is no string is a TypeError of ours."""
    with pytest.raises(InvalidTypeError, match="run_id"):
        door(lab.flow(), run_id=run_id)
    assert (lab.log, lab.files()) == ([], {})


def test_empty_id_is_refused(door: Door, lab: Lab) -> None:
    """An empty id is most likely a mistake: a ValueError of ours."""
    with pytest.raises(InvalidValueError, match="run_id"):
        door(lab.flow(), run_id="")
    assert (lab.log, lab.files()) == ([], {})
