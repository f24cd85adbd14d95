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
from aiocheckpoint.handlers._files.failpoints import armed

if TYPE_CHECKING:
    from pathlib import Path


# --- going on


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_update_is_stored_before_the_step(kind: str, tmp_path: Path, door: Door) -> None:
    """What goes on is "running", and holds the update, when the step begins."""
    in_file, seen = Anywhere.at(tmp_path, kind), list[tuple[State, str]]()
    approvable(in_file).run(unapproved(), "always", run_id=in_file.run_id)

    def look(state: State, data: State) -> None:
        seen.append((in_file.stored(), in_file.header().status))

    in_file.go(door, approvable(in_file, step=look), None, "always", update=UPDATE)
    assert seen == [({**entry("b"), **UPDATE, "checkpoint_index": 1}, "running")]
    in_file.forget()


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


def test_empty_update(in_file: Anywhere, door: Door) -> None:
    """An update of nothing goes on all the same; the run is paused again where the step says so."""
    cp = paused(in_file)
    assert door(cp, None, "always", update={}) == entry("b")
    assert (in_file.header().status, in_file.header().number) == ("paused", 1)


def test_update_cannot_move_the_run(in_file: Anywhere, door: Door) -> None:
    """The keys of the handlers' border in an update are taken off."""
    cp = paused(in_file)
    update = {**UPDATE, "checkpoint_index": 2, "checkpoint_data": {"rows": ["forged"]}}
    assert door(cp, None, "always", update=update) == approved("b")


def test_given_update_is_not_changed(in_file: Anywhere, door: Door) -> None:
    """The dict that is passed stays the caller's."""
    cp, update = paused(in_file), {"approved": "by me", "deep": [[]]}
    door(cp, None, "always", update=update, until="b")
    assert set(update) == {"approved", "deep"}
    assert door(cp) == approved("b")


# --- update= where it cannot be meant


STANDING = ("nothing", "finished", "failed", "stopped", "running", "cancelled", "patched away")


def leave(in_file: Anywhere, standing: str) -> None:
    """Leave a run that is not paused."""
    if standing in {"failed", "cancelled"}:
        error = OSError() if standing == "failed" else KeyboardInterrupt()
        in_file.faults["step b"] = error
        with pytest.raises(type(error)):
            in_file.flow().run({})
        in_file.faults.clear()
    elif standing == "running":
        cp = in_file.flow()
        with pytest.raises(LookupError), armed("renamed", stop):
            cp.run({})
    elif standing == "patched away":
        paused(in_file).patch(None, {}, "c")
    elif standing != "nothing":
        in_file.flow().run({}, until=None if standing == "finished" else "b")


def stop() -> None:
    """Break a run off when its first snapshot is there, so that nothing tells of it."""
    raise LookupError


@pytest.mark.parametrize("standing", STANDING)
def test_run_that_is_not_paused(standing: str, in_file: Anywhere, door: Door) -> None:
    """The error names how the run stands; nothing runs, and what is stored stays."""
    leave(in_file, standing)
    files = in_file.files()
    in_file.log.clear()
    word = {"nothing": "nothing is stored", "patched away": "'stopped'"}.get(standing, standing)
    with pytest.raises(InvalidValueError, match=f"update= is for a run that is paused.*{word}"):
        door(in_file.flow(), update=UPDATE)
    assert (in_file.log, in_file.files()) == ([], files)


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
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    kind: type[Exception],
    in_file: Anywhere,
    door: Door,
) -> None:
    """With a state or a step, or as no dict, it is refused, and the run stays paused."""
    cp, files = paused(in_file), in_file.files()
    with pytest.raises(kind, match="update="):
        door(cp, *args, **{"update": UPDATE, **kwargs})
    assert in_file.files() == files
    assert in_file.events == []


def test_update_that_cannot_be_stored(in_file: Anywhere, door: Door) -> None:
    """What cannot be stored is named; the run stays paused, as it was, and can go on."""
    cp, files = paused(in_file), in_file.files()
    with pytest.raises(UnserializableStateError, match=r'state\["approved"\]'):
        door(cp, None, "always", update={"approved": (key for key in UPDATE)})
    assert in_file.files() == files
    assert in_file.header().status == "paused"
    assert door(cp, None, "always", update=UPDATE) == approved("b")


def test_users_own_handler(tmp_path: Path, door: Door) -> None:
    """A handler of dicts cannot tell that a run is paused, and the error says so."""
    in_file = Anywhere.at(tmp_path, "own")
    cp = paused(in_file)
    with pytest.raises(InvalidValueError, match="OwnDicts keeps dicts alone"):
        door(cp, update=UPDATE)
    assert in_file.stored() == {**entry("b"), "checkpoint_index": 1}


async def test_run_under_way(in_file: Anywhere) -> None:
    """While somebody lets the step look for itself, nobody else goes on with the run."""
    await asyncio.to_thread(paused, in_file)
    gate = Gate(blocks=False)

    async def hold(state: State, data: State) -> None:
        gate.next_step.set()
        assert await asyncio.to_thread(gate.opened.wait, 30)

    task = asyncio.create_task(approvable(in_file, step=hold).arun(None, "always"))
    await gate.reached()
    with pytest.raises(RunInProgressError):
        await approvable(in_file).arun(update=UPDATE)
    gate.opened.set()
    await task
