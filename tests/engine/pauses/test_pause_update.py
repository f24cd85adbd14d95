"""`update=` continues a paused run, and refuses every other."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from approval_flows import UPDATE, approvable, approved, entry, paused, unapproved
from flaky_steps import AnyStore
from interrupts import Latch
from killed_workers import LOCATIONS
from support import Runner, State

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


# --- continuing


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_update_is_stored_before_the_step(kind: str, tmp_path: Path, runner: Runner) -> None:
    """When the step begins, the stored run is "running", and holds the update."""
    file_store, seen = AnyStore.at(tmp_path, kind), list[tuple[State, str]]()
    approvable(file_store).run(unapproved(), "always", run_id=file_store.run_id)

    def look(state: State, data: State) -> None:
        seen.append((file_store.stored(), file_store.header().status))

    file_store.go(runner, approvable(file_store, step=look), None, "always", update=UPDATE)
    assert seen == [({**entry("b"), **UPDATE, "checkpoint_index": 1}, "running")]
    file_store.forget()


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
@pytest.mark.parametrize("kind", LOCATIONS)
def test_update_outlives_a_kill(kind: str, tmp_path: Path) -> None:
    """A run killed in the step that paused it holds the update, and can be resumed."""
    place = LOCATIONS[kind].format(tmp_path)
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


def test_empty_update(file_store: AnyStore, runner: Runner) -> None:
    """An empty update also continues the run. The step may pause it again."""
    cp = paused(file_store)
    assert runner(cp, None, "always", update={}) == entry("b")
    assert (file_store.header().status, file_store.header().number) == ("paused", 1)


def test_update_cannot_move_the_run(file_store: AnyStore, runner: Runner) -> None:
    """The position in an update is dropped. Other values under reserved keys are refused."""
    cp = paused(file_store)
    for reserved in ({"checkpoint_index": "2"}, {"checkpoint_data": {"rows": ["forged"]}}):
        with pytest.raises(InvalidValueError, match="update= has"):
            runner(cp, None, "always", update={**UPDATE, **reserved})
    assert runner(cp, None, "always", update={**UPDATE, "checkpoint_index": 2}) == approved("b")


def test_given_update_is_not_changed(file_store: AnyStore, runner: Runner) -> None:
    """The dict passed as `update=` is not changed."""
    cp, update = paused(file_store), {"approved": "by me", "deep": [[]]}
    runner(cp, None, "always", update=update, until="b")
    assert set(update) == {"approved", "deep"}
    assert runner(cp) == approved("b")


# --- update= refused


STORED_STATUSES = (
    "nothing",
    "finished",
    "failed",
    "stopped",
    "running",
    "cancelled",
    "patched away",
)


def leave(file_store: AnyStore, stored_status: str) -> None:
    """Store a run that is not paused."""
    if stored_status in {"failed", "cancelled"}:
        error = OSError() if stored_status == "failed" else KeyboardInterrupt()
        file_store.faults["step b"] = error
        with pytest.raises(type(error)):
            file_store.flow().run({})
        file_store.faults.clear()
    elif stored_status == "running":
        cp = file_store.flow()
        with pytest.raises(LookupError), armed("renamed", stop):
            cp.run({})
    elif stored_status == "patched away":
        paused(file_store).patch({}, "c")
    elif stored_status != "nothing":
        file_store.flow().run({}, until=None if stored_status == "finished" else "b")


def stop() -> None:
    """Fail after the first snapshot, so that no failure is recorded."""
    raise LookupError


@pytest.mark.parametrize("stored_status", STORED_STATUSES)
def test_run_that_is_not_paused(stored_status: str, file_store: AnyStore, runner: Runner) -> None:
    """The error names the status of the run. Nothing runs, and the stored run stays."""
    leave(file_store, stored_status)
    files = file_store.files()
    file_store.log.clear()
    word = {"nothing": "nothing is stored", "patched away": "'stopped'"}.get(
        stored_status, stored_status
    )
    with pytest.raises(InvalidValueError, match=f"update= is for a run that is paused.*{word}"):
        runner(file_store.flow(), update=UPDATE)
    assert (file_store.log, file_store.files()) == ([], files)


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
    file_store: AnyStore,
    runner: Runner,
) -> None:
    """With a state or a step, or if it is no dict, an update is refused. The run stays paused."""
    cp, files = paused(file_store), file_store.files()
    with pytest.raises(kind, match="update="):
        runner(cp, *args, **{"update": UPDATE, **kwargs})
    assert file_store.files() == files
    assert file_store.events == []


def test_update_that_cannot_be_stored(file_store: AnyStore, runner: Runner) -> None:
    """The error names the value that cannot be stored. The run stays paused, and can continue."""
    cp, files = paused(file_store), file_store.files()
    with pytest.raises(UnserializableStateError, match=r'state\["approved"\]') as info:
        runner(cp, None, "always", update={"approved": (key for key in UPDATE)})
    assert "with update= for the paused step 'b' cannot" in str(info.value)
    copied = pickle.loads(pickle.dumps(info.value))
    assert (str(copied), copied.step, copied.paused_step) == (str(info.value), None, "b")
    assert file_store.files() == files
    assert file_store.header().status == "paused"
    assert runner(cp, None, "always", update=UPDATE) == approved("b")


def test_users_own_handler(tmp_path: Path, runner: Runner) -> None:
    """A handler of dicts cannot store that a run is paused, and the error says so."""
    file_store = AnyStore.at(tmp_path, "own")
    cp = paused(file_store)
    with pytest.raises(InvalidValueError, match="OwnDicts keeps dicts alone"):
        runner(cp, update=UPDATE)
    assert file_store.stored() == {**entry("b"), "checkpoint_index": 1}


async def test_running_run(file_store: AnyStore) -> None:
    """While the step of a paused run executes again, `update=` is refused."""
    await asyncio.to_thread(paused, file_store)
    latch = Latch(blocks=False)

    async def hold(state: State, data: State) -> None:
        latch.entered.set()
        assert await asyncio.to_thread(latch.opened.wait, 30)

    task = asyncio.create_task(approvable(file_store, step=hold).arun(None, "always"))
    await latch.reached()
    with pytest.raises(RunInProgressError):
        await approvable(file_store).arun(update=UPDATE)
    latch.opened.set()
    await task
