"""Notes and errors of runs whose checkpoint was deleted in the meantime."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import DrainingError, Pause, StorageError
from aiocheckpoint.handlers._files.failpoints import armed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory, Runner, State

pytestmark = [
    pytest.mark.leaves_files,
    pytest.mark.skipif(os.name != "posix", reason="Windows forbids deleting open files"),
]

DELETIONS: dict[str, Callable[[Path], object]] = {
    "directory": lambda path: shutil.rmtree(path.parent),
    "file": lambda path: path.unlink(),
    "directory moved": lambda path: path.parent.rename(path.parent.with_name("moved")),
}
gone = pytest.mark.parametrize("deletion", DELETIONS)


def place_of(flows: FlowFactory) -> Path:
    """Let the flow store in a directory of its own, which is also the working directory."""
    flows.path = flows.path.parent / "place" / "c.pkl"
    flows.path.parent.mkdir()
    return flows.path


def check_note(error: BaseException, path: Path) -> None:
    """Check that the note says that nothing is stored."""
    notes = "\n".join(error.__notes__)
    assert "step 2 of 2, 'b'" in notes
    assert f"Nothing is stored in {path} any more" in notes
    assert "un again: it starts at the first step." in notes
    assert "holds the state" not in notes


@gone
@pytest.mark.parametrize("error", [ValueError("own"), KeyboardInterrupt("own")], ids=repr)
def test_step_breaks(
    deletion: str, error: BaseException, flows: FlowFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception of the step comes out, and its note does not promise a state."""
    path = place_of(flows)
    monkeypatch.chdir(path.parent)

    def step(state: State) -> None:
        DELETIONS[deletion](path)
        raise error

    cp = flows.flow("a")
    cp.add_step(name="b")(step)
    with pytest.raises(type(error), match="own") as info:
        cp.run({})
    check_note(info.value, path)
    assert not path.exists()


@pytest.mark.parametrize("deletion", ["directory", "directory moved"])
def test_snapshot_fails(deletion: str, runner: Runner, flows: FlowFactory) -> None:
    """A snapshot that cannot be written gives a note that does not promise the one before."""
    path = place_of(flows)
    cp = flows.flow("a")
    cp.add_step(name="b")(lambda state: DELETIONS[deletion](path))
    with pytest.raises(StorageError, match="No such file") as info:
        runner(cp, {})
    check_note(info.value, path)


def test_snapshot_fails_once(flows: FlowFactory, runner: Runner) -> None:
    """Where the snapshot before is stored, the note promises it, as it is read again."""

    def fail() -> None:
        if "b" in state:
            raise OSError(28, "No space left on device")

    state: State = {}
    cp = flows.flow("a", fsync=False)
    cp.add_step(name="b")(lambda inner: inner.update(b=1))
    with armed("written", fail), pytest.raises(StorageError, match="No space") as info:
        runner(cp, state)
    assert "holds the state as it was before 'b'" in "\n".join(info.value.__notes__)


@gone
async def test_cancelled(deletion: str, flows: FlowFactory) -> None:
    """The note of a cancellation says it too."""
    path = place_of(flows)
    entered, cp = asyncio.Event(), flows.flow("a")

    @cp.add_step(name="b")
    async def step(state: State) -> None:
        entered.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(cp.arun({}))
    await entered.wait()
    DELETIONS[deletion](path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    check_note(info.value, path)


@gone
def test_paused(deletion: str, runner: Runner, flows: FlowFactory) -> None:
    """A run that cannot be paused says why, and its note says it too."""
    path = place_of(flows)

    def step(state: State) -> None:
        DELETIONS[deletion](path)
        raise Pause("for approval")

    cp = flows.flow("a")
    cp.add_step(name="b")(step)
    with pytest.raises(StorageError, match="cannot be paused") as info:
        runner(cp, {})
    check_note(info.value, path)


async def test_drained(flows: FlowFactory) -> None:
    """The error of a drain does not say that the deleted checkpoint holds the state."""
    path = place_of(flows)
    cp, drains = flows.flow("a"), list[asyncio.Task[Any]]()

    @cp.add_step(name="b", retry=3)
    async def step(state: State) -> None:
        drains.append(asyncio.ensure_future(cp.adrain()))
        await asyncio.sleep(0)
        path.unlink()
        raise ValueError

    with pytest.raises(DrainingError, match=r"nothing is stored in .*c\.pkl any more") as info:
        await cp.arun({})
    assert info.value.path == str(path)
    assert "holds its state" not in str(info.value)
    await asyncio.gather(*drains)
