"""`timeout=` of a step: what takes longer is cancelled, and it was as if it had not begun."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest
from flaky_steps import A_LONG_TIME, AT_ONCE, AnyStore, Flaky, after, before
from hanging_steps import SHORT, do_nothing_later, hang, limited
from support import Runner, State, notes_of

from aiocheckpoint import (
    Retry,
    StepTimeoutError,
    events,
)

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow

every_part = pytest.mark.parametrize("part", ["load", "step", "save"])


@every_part
def test_over_its_limit(part: str, simple_store: AnyStore, any_runner: Runner) -> None:
    """An error names step, part and limit. The stored state is that on entry."""
    given = before()
    with pytest.raises(TimeoutError) as info:
        simple_store.go(any_runner, limited(simple_store, part, hang), given, "always")
    error = info.value
    assert isinstance(error, StepTimeoutError)
    assert (error.step, error.part, error.seconds) == ("b", part, SHORT)
    assert f"step 2 of 2, 'b', broke in its part '{part}'" in notes_of(error)
    assert simple_store.stored() == {**before(), "checkpoint_index": 1}
    (failed,) = simple_store.events_of(events.StepFailed)
    assert (failed.error, failed.part, failed.cancelled) == (error, part, False)
    if simple_store.has_headers:
        assert simple_store.header().status == "failed"


@every_part
def test_tried_again(part: str, simple_store: AnyStore, any_runner: Runner) -> None:
    """What took too long is tried again where `retry=` says so, with all as it was on entry."""
    calls: list[int] = []

    async def slow_once(state: State) -> State:
        calls.append(len(state["deep"][0]["list"]))
        return await hang(state) if len(calls) < 3 else {}

    retry = Retry(on=TimeoutError, attempts=3, **AT_ONCE)
    cp = limited(simple_store, part, slow_once, retry=retry)
    assert simple_store.go(any_runner, cp, before(), "always") == before()
    assert calls == [0, 0, 0]
    assert [type(one.error) for one in simple_store.events_of(events.AttemptFailed)] == [
        StepTimeoutError
    ] * 2


def test_failures_in_time(file_store: AnyStore, any_runner: Runner) -> None:
    """What fails before its limit is tried again like anything else."""
    cp, flaky = file_store.empty_flow(), Flaky(asynchronous=True)
    flaky.add(cp, timeout=A_LONG_TIME)
    assert any_runner(cp, before(), "always") == after()
    assert flaky.attempts == [1, 2, 3]


@every_part
def test_timeout_of_its_own(part: str, file_store: AnyStore, runner: Runner) -> None:
    """A TimeoutError that a part raises by itself comes out as the object that it is."""
    error = TimeoutError("mine")

    async def own(state: State) -> State:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            raise error from None
        return {}

    with pytest.raises(TimeoutError) as info:
        runner(limited(file_store, part, own, timeout=A_LONG_TIME), before(), "always")
    assert info.value is error
    assert file_store.header().status == "failed"


def test_swallowed(file_store: AnyStore, any_runner: Runner) -> None:
    """A step that catches the cancellation and ends as if nothing was is not done."""

    async def swallow(state: State) -> None:
        state["half"] = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            state["swallowed"] = True

    with pytest.raises(StepTimeoutError):
        any_runner(limited(file_store, "step", swallow), before())
    assert file_store.stored() == {**before(), "checkpoint_index": 1}


def test_another_error_at_the_limit(file_store: AnyStore, any_runner: Runner) -> None:
    """What a step raises when it is cancelled comes out as it is."""
    error = LookupError("cleaning up failed")

    async def fail(state: State) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    with pytest.raises(LookupError) as info:
        any_runner(limited(file_store, "step", fail), before())
    assert info.value is error


def test_without_waiting(file_store: AnyStore, runner: Runner) -> None:
    """A part that ends in time is not held up, and nothing comes of its limit later."""
    cp = limited(file_store, "step", do_nothing_later, timeout=A_LONG_TIME)
    assert runner(cp, before()) == before()


# --- cancelled from outside


async def start(cp: CheckpointFlow) -> State:
    """Run it."""
    return await cp.arun(before(), "always")


@every_part
async def test_cancelled_near_the_limit(part: str, file_store: AnyStore) -> None:
    """Where both come while the part still clears up, it is the cancellation that comes out."""

    async def clear_up(state: State) -> State:
        try:
            return await hang(state)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.Event().wait()
            raise

    task = asyncio.create_task(start(limited(file_store, part, clear_up)))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1
    assert file_store.header().status == "cancelled"
    assert file_store.stored() == {**before(), "checkpoint_index": 1}


async def test_outer_time_limit(file_store: AnyStore) -> None:
    """A limit around the run is that one's TimeoutError, and none of the step."""
    limit = asyncio.timeout(None)

    async def hang_in_it(state: State) -> State:
        limit.reschedule(asyncio.get_running_loop().time() + SHORT)
        return await hang(state)

    cp = limited(file_store, "step", hang_in_it, timeout=A_LONG_TIME)
    with pytest.raises(TimeoutError) as info:
        async with limit:
            await start(cp)
    assert not isinstance(info.value, StepTimeoutError)
    assert file_store.header().status == "cancelled"


@pytest.mark.parametrize("outer", [True, False])
async def test_anyio_scope(file_store: AnyStore, *, outer: bool) -> None:
    """Inside a scope of anyio both limits hold, whichever is over first."""
    scope = anyio.CancelScope()

    async def hang_in_it(state: State) -> State:
        if outer:
            scope.deadline = anyio.current_time() + SHORT
        return await hang(state)

    cp = limited(file_store, "step", hang_in_it, timeout=A_LONG_TIME if outer else SHORT)
    with scope:
        if outer:
            await start(cp)
        else:
            with pytest.raises(StepTimeoutError):
                await start(cp)
    assert scope.cancelled_caught == outer
    assert file_store.header().status == ("cancelled" if outer else "failed")
    await anyio.lowlevel.checkpoint()
