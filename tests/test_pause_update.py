"""`update=` goes on with a paused run, and with no other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import Gate
from pausing import UPDATE, approvable, approved, entry, paused, unapproved
from support import Door, State
from swarming import PLACES
from trying import Anywhere

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    UnserializableStateError,
)
from aiocheckpoint._failpoints import armed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Anywhere:
    """Give a workshop in a file."""
    return Anywhere.at(tmp_path, "file")


# --- going on


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_update_is_stored_before_the_step(kind: str, tmp_path: Path, door: Door) -> None:
    """What goes on is "running", and holds the update, when the step begins."""
    lab, seen = Anywhere.at(tmp_path, kind), list[tuple[State, str]]()
    approvable(lab).run(unapproved(), "always", run_id=lab.run_id)

    def look(state: State, data: State) -> None:
        seen.append((lab.stored(), lab.header().status))

    lab.go(door, approvable(lab, step=look), None, "always", update=UPDATE)
    assert seen == [({**entry("b"), **UPDATE, "checkpoint_index": 1}, "running")]
    lab.forget()


PROGRAM = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow, Pause

cp = CheckpointFlow(sys.argv[1], name="flow")

@cp.add_step()
def step(state):
    if "approved" not in state:
        raise Pause("waiting")
    os.kill(os.getpid(), signal.SIGKILL)

cp.run({"n": 1}, run_id="x")
print(cp.header("x").status, flush=True)
cp.run(run_id="x", update={"approved": True})
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", PLACES)
def test_update_outlives_a_kill(kind: str, tmp_path: Path) -> None:
    """Killed in the step that it was paused at, the run holds the update and can be resumed."""
    place = PLACES[kind].format(tmp_path)
    command = [sys.executable, "-c", PROGRAM, place]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "paused\n")
    cp = CheckpointFlow(place, name="flow")
    cp.add_step(name="step")(lambda state: state.update(done=state["approved"]))
    header = cp.header("x")
    assert header is not None
    assert (header.status, header.pause) == ("running", None)
    assert cp.read("x") == {"n": 1, "approved": True, "checkpoint_index": 0}
    assert cp.run(run_id="x") == {"n": 1, "approved": True, "done": True}


def test_empty_update(lab: Anywhere, door: Door) -> None:
    """An update of nothing goes on all the same; the run is paused again where the step says so."""
    cp = paused(lab)
    assert door(cp, None, "always", update={}) == entry("b")
    assert (lab.header().status, lab.header().number) == ("paused", 1)


def test_update_cannot_move_the_run(lab: Anywhere, door: Door) -> None:
    """The keys of the handlers' border in an update are taken off."""
    cp = paused(lab)
    update = {**UPDATE, "checkpoint_index": 2, "checkpoint_data": {"rows": ["forged"]}}
    assert door(cp, None, "always", update=update) == approved("b")


def test_given_update_is_not_changed(lab: Anywhere, door: Door) -> None:
    """The dict that is passed stays the caller's."""
    cp, update = paused(lab), {"approved": "by me", "deep": [[]]}
    door(cp, None, "always", update=update, until="b")
    assert set(update) == {"approved", "deep"}
    assert door(cp) == approved("b")


# --- update= where it cannot be meant


STANDING = ("nothing", "finished", "failed", "stopped", "running", "cancelled", "patched away")


def leave(lab: Anywhere, standing: str) -> None:
    """Leave a run that is not paused."""
    if standing in {"failed", "cancelled"}:
        error = OSError() if standing == "failed" else KeyboardInterrupt()
        lab.faults["step b"] = error
        with pytest.raises(type(error)):
            lab.flow().run({})
        lab.faults.clear()
    elif standing == "running":
        cp = lab.flow()
        with pytest.raises(LookupError), armed("renamed", stop):
            cp.run({})
    elif standing == "patched away":
        paused(lab).patch(None, {}, "c")
    elif standing != "nothing":
        lab.flow().run({}, until=None if standing == "finished" else "b")


def stop() -> None:
    """Break a run off when its first snapshot is there, so that nothing tells of it."""
    raise LookupError


@pytest.mark.parametrize("standing", STANDING)
def test_run_that_is_not_paused(standing: str, lab: Anywhere, door: Door) -> None:
    """The error names how the run stands; nothing runs, and what is stored stays."""
    leave(lab, standing)
    files = lab.files()
    lab.log.clear()
    word = {"nothing": "nothing is stored", "patched away": "'stopped'"}.get(standing, standing)
    with pytest.raises(InvalidValueError, match=f"update= is for a run that is paused.*{word}"):
        door(lab.flow(), update=UPDATE)
    assert (lab.log, lab.files()) == ([], files)


@pytest.mark.parametrize(
    ("args", "kwargs", "kind"),
    [
        (({},), {}, InvalidValueError),
        ((), {"checkpoint": "b"}, InvalidValueError),
        ((), {"checkpoint": 0}, InvalidValueError),
        ((), {"update": [("approved", 1)]}, InvalidTypeError),
        ((), {"update": "approved"}, InvalidTypeError),
        ((), {"update": False}, InvalidTypeError),
    ],
)
def test_update_that_cannot_be_meant(
    args: tuple[Any, ...], kwargs: dict[str, Any], kind: type[Exception], lab: Anywhere, door: Door
) -> None:
    """With a state or a step, or as no dict, it is refused, and the run stays paused."""
    cp, files = paused(lab), lab.files()
    with pytest.raises(kind, match="update="):
        door(cp, *args, **{"update": UPDATE, **kwargs})
    assert lab.files() == files
    assert lab.events == []


def test_update_that_cannot_be_stored(lab: Anywhere, door: Door) -> None:
    """What cannot be stored is named; the run stays paused, as it was, and can go on."""
    cp, files = paused(lab), lab.files()
    with pytest.raises(UnserializableStateError, match=r'state\["approved"\]'):
        door(cp, None, "always", update={"approved": (key for key in UPDATE)})
    assert lab.files() == files
    assert lab.header().status == "paused"
    assert door(cp, None, "always", update=UPDATE) == approved("b")


def test_users_own_handler(tmp_path: Path, door: Door) -> None:
    """A handler of dicts cannot tell that a run is paused, and the error says so."""
    lab = Anywhere.at(tmp_path, "own")
    cp = paused(lab)
    with pytest.raises(InvalidValueError, match="OwnDicts keeps dicts alone"):
        door(cp, update=UPDATE)
    assert lab.stored() == {**entry("b"), "checkpoint_index": 1}


async def test_run_under_way(lab: Anywhere) -> None:
    """While somebody lets the step look for itself, nobody else goes on with the run."""
    await asyncio.to_thread(paused, lab)
    gate = Gate(blocks=False)

    async def hold(state: State, data: State) -> None:
        gate.entered.set()
        assert await asyncio.to_thread(gate.opened.wait, 30)

    task = asyncio.create_task(approvable(lab, step=hold).arun(None, "always"))
    await gate.reached()
    with pytest.raises(RunInProgressError):
        await approvable(lab).arun(update=UPDATE)
    gate.opened.set()
    await task
