"""Pauses that cannot be: from elsewhere than a step, for no reason, or not to be stored."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import Gate
from pausing import REASON, UPDATE, approvable, approved, entry, unapproved
from support import Door, State, add_with
from trying import Anywhere

from aiocheckpoint import (
    FlowDefinitionError,
    InvalidTypeError,
    LocalStateHandler,
    Pause,
    StorageError,
    events,
)
from aiocheckpoint._failpoints import armed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Anywhere:
    """Give a workshop in a file."""
    return Anywhere.at(tmp_path, "file")


@pytest.mark.parametrize("reason", [3, None, b"x", ["x"], OSError("x")], ids=repr)
def test_reason_that_is_no_text(reason: Any) -> None:  # noqa: ANN401
    """It is refused where the pause is made."""
    with pytest.raises(InvalidTypeError, match="reason"):
        Pause(reason)


@pytest.mark.parametrize(("part", "noun"), [("load", "loader"), ("save", "saver")])
def test_pause_from_another_part(part: str, noun: str, somewhere: Anywhere, door: Door) -> None:
    """A loader or saver may not pause; the error says what to do, and comes from the pause."""

    def pause(state: State) -> State:
        state["half"] = True
        raise Pause(REASON)

    cp = somewhere.bare()
    add_with(cp, "b", part, pause)
    with pytest.raises(FlowDefinitionError, match=f"the {noun} of step 'b' raised Pause") as info:
        door(cp, {"n": 1})
    assert type(info.value.__cause__) is Pause
    assert info.value.step == "b"
    assert somewhere.stored() == {"n": 1, "checkpoint_index": 0}
    if somewhere.has_headers:
        assert somewhere.header().status == "failed"


@pytest.mark.parametrize("point", ["created", "written"])
def test_pause_cannot_be_stored(point: str, lab: Anywhere, door: Door) -> None:
    """A pause that cannot be stored is an error of the storage; the run can be resumed."""

    def fail() -> None:
        if lab.told(events.StepStarted) and lab.told(events.StepStarted)[-1].step == "b":
            raise OSError(errno.ENOSPC, "No space left on device")

    cp = approvable(lab)
    with armed(point, fail), pytest.raises(StorageError, match="No space left"):
        door(cp, unapproved(), "always")
    assert lab.stored() == {**entry("b"), "checkpoint_index": 1}
    assert lab.header().status == "running"
    assert door(cp, None, "always") == entry("b")
    assert lab.header().status == "paused"


def test_deleted_meanwhile(lab: Anywhere, door: Door) -> None:
    """Where the checkpoint was deleted while the step ran, there is nothing to pause."""

    def step(state: State, data: State) -> None:
        lab.path.unlink()
        raise Pause(REASON)

    with pytest.raises(StorageError, match="cannot be paused"):
        door(approvable(lab, step=step), unapproved(), "always")


class Held(LocalStateHandler):
    """A handler that is held in the middle of storing that a run is paused."""

    gate: Gate

    def replace(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Be held where a header alone is changed."""
        if len(args) > 2 and args[2] is not None:
            self.gate.hold()
        return super().replace(*args, **kwargs)


async def test_cancelled_in_the_middle(lab: Anywhere) -> None:
    """A cancellation waits until the pause is stored; then it comes out, and the run is paused."""
    handler = Held(lab.path, fsync=False)
    handler.gate = gate = Gate(blocks=True)
    cp = approvable(lab, handler=handler)
    task = asyncio.create_task(gate.watch(lambda: cp.arun(unapproved(), "always")))
    await gate.strike(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (lab.header().status, lab.header().pause) == ("paused", REASON)
    assert lab.stored() == {**entry("b"), "checkpoint_index": 1}
    assert await approvable(lab).arun(None, "always", update=UPDATE) == approved("b")
