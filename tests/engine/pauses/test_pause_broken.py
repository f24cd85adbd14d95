"""Refused pauses: raised outside of a step, without a valid reason, or not to be stored."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest
from approval_flows import REASON, UPDATE, approvable, approved, entry, unapproved
from interrupts import Latch
from support import Runner, State, add_with

from aiocheckpoint import (
    FlowDefinitionError,
    InvalidTypeError,
    LocalStateHandler,
    Pause,
    StorageError,
    events,
)
from aiocheckpoint.handlers._files.failpoints import armed

if TYPE_CHECKING:
    from flaky_steps import AnyStore


@pytest.mark.parametrize("reason", [3, None, b"x", ["x"], OSError("x")], ids=repr)
def test_reason_that_is_no_text(reason: Any) -> None:  # noqa: ANN401
    """A reason that is no text is refused when the pause is made."""
    with pytest.raises(InvalidTypeError, match="reason"):
        Pause(reason)


@pytest.mark.parametrize(("part", "noun"), [("load", "loader"), ("save", "saver")])
def test_pause_from_another_part(
    part: str, noun: str, simple_store: AnyStore, runner: Runner
) -> None:
    """A loader or saver may not pause. The error names the remedy, and its cause is the pause."""

    def pause(state: State) -> State:
        state["half"] = True
        raise Pause(REASON)

    cp = simple_store.empty_flow()
    add_with(cp, "b", part, pause)
    with pytest.raises(FlowDefinitionError, match=f"the {noun} of step 'b' raised Pause") as info:
        runner(cp, {"n": 1})
    assert type(info.value.__cause__) is Pause
    assert info.value.step == "b"
    assert simple_store.stored() == {"n": 1, "checkpoint_index": 0}
    if simple_store.has_headers:
        assert simple_store.header().status == "failed"


@pytest.mark.parametrize("point", ["created", "written"])
def test_pause_cannot_be_stored(point: str, file_store: AnyStore, runner: Runner) -> None:
    """A pause that cannot be stored is an error of the storage. The run can be resumed."""

    def fail() -> None:
        if (
            file_store.events_of(events.StepStarted)
            and file_store.events_of(events.StepStarted)[-1].step == "b"
        ):
            raise OSError(errno.ENOSPC, "No space left on device")

    cp = approvable(file_store)
    with armed(point, fail), pytest.raises(StorageError, match="No space left") as info:
        runner(cp, unapproved(), "always")
    (note,) = info.value.__notes__
    assert note.startswith("aiocheckpoint: step 2 of 3, 'b', broke in its part 'snapshot'.")
    assert [(one.step, one.error) for one in file_store.events_of(events.StepFailed)] == [
        ("b", info.value)
    ]
    assert file_store.stored() == {**entry("b"), "checkpoint_index": 1}
    assert file_store.header().status == "running"
    assert runner(cp, None, "always") == entry("b")
    assert file_store.header().status == "paused"


def test_deleted_meanwhile(file_store: AnyStore, runner: Runner) -> None:
    """If the checkpoint was deleted while the step ran, there is nothing to pause."""

    def step(state: State, data: State) -> None:
        file_store.path.unlink()
        raise Pause(REASON)

    with pytest.raises(StorageError, match="cannot be paused"):
        runner(approvable(file_store, step=step), unapproved(), "always")


class Held(LocalStateHandler):
    """A handler that blocks while it stores that a run is paused."""

    latch: Latch

    def replace(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Block if only the header is replaced."""
        if len(args) > 2 and args[2] is not None:
            self.latch.hold()
        return super().replace(*args, **kwargs)


async def test_cancelled_in_the_middle(file_store: AnyStore) -> None:
    """A cancellation waits until the pause is stored. Then it is raised, and the run is paused."""
    handler = Held(file_store.path, fsync=False)
    handler.latch = latch = Latch(blocks=True)
    cp = approvable(file_store, handler=handler)
    task = asyncio.create_task(latch.watch(lambda: cp.arun(unapproved(), "always")))
    await latch.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (file_store.header().status, file_store.header().pause) == ("paused", REASON)
    assert file_store.stored() == {**entry("b"), "checkpoint_index": 1}
    assert await approvable(file_store).arun(None, "always", update=UPDATE) == approved("b")
