"""Retries that break off: cancelled, interrupted or killed, in an attempt or between two."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
import stamina.instrumentation
from flaky_steps import A_LONG_TIME, THRICE, AnyStore, Flaky, after, before
from interrupts import PATIENCE
from kill_checks import kill_trials, needs_fork
from killed_workers import LOCATIONS
from support import Runner, notes_of

from aiocheckpoint import CheckpointFlow, Retry, events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from stamina.instrumentation import RetryDetails

SLOWLY = Retry(wait_initial=A_LONG_TIME, wait_max=A_LONG_TIME)


@contextmanager
def when_waiting(act: Callable[[], object]) -> Generator[None, None, None]:
    """Call a function whenever the wait for another attempt begins."""

    def hook(details: RetryDetails) -> None:
        act()

    stamina.instrumentation.set_on_retry_hooks([hook])
    try:
        yield
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)


def slow_flow(flows: AnyStore, flaky: Flaky) -> CheckpointFlow:
    """Make a flow whose only step is retried after a long delay."""
    cp = flows.empty_flow()
    flaky.add(cp, retry=SLOWLY)
    return cp


def check_resumes(flows: AnyStore, flaky: Flaky, number: int) -> None:
    """Check that the state is the entry state, and the next attempt has the next number."""
    assert flows.stored() == {**before(), "checkpoint_index": 0}
    flaky.failures = 0
    cp = flows.empty_flow()
    flaky.add(cp, retry=THRICE)
    assert flows.go(Runner("run"), cp) == after()
    if flows.has_headers:
        assert flaky.attempts[-1] == number


async def start(flows: AnyStore, cp: CheckpointFlow) -> None:
    """Run the flow, from a fresh state."""
    await cp.arun(before(), run_id=flows.run_id)


async def start_in_time(flows: AnyStore, cp: CheckpointFlow) -> None:
    """Run the flow under a timeout that expires when the wait begins."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        with when_waiting(lambda: loop.call_soon(limit.reschedule, 0.0)):
            await start(flows, cp)


async def test_cancelled_while_waiting(any_store: AnyStore) -> None:
    """A cancellation ends the wait at once, and the run resumes after the failed attempt."""
    flaky, loop = Flaky(), asyncio.get_running_loop()
    task = asyncio.create_task(start(any_store, slow_flow(any_store, flaky)))
    with when_waiting(lambda: loop.call_soon(task.cancel)), pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1
    if any_store.has_headers:
        header = any_store.header()
        assert header.status == "cancelled"
        assert header.failure is not None
        assert (header.failure.attempt, header.failure.type[-14:]) == (1, "CancelledError")
    (failed,) = any_store.events_of(events.StepFailed)
    assert (failed.cancelled, failed.attempt) == (True, 1)
    await asyncio.to_thread(check_resumes, any_store, flaky, 2)


@pytest.mark.parametrize("scope", ["timeout", "anyio"])
async def test_scope_while_waiting(scope: str, simple_store: AnyStore) -> None:
    """A timeout around the run ends the wait for another attempt as well."""
    flaky, loop = Flaky(), asyncio.get_running_loop()
    cp = slow_flow(simple_store, flaky)
    if scope == "anyio":
        with anyio.CancelScope() as outer, when_waiting(lambda: loop.call_soon(outer.cancel)):
            await start(simple_store, cp)
        assert outer.cancelled_caught
    else:
        with pytest.raises(TimeoutError):
            await start_in_time(simple_store, cp)
    await asyncio.to_thread(check_resumes, simple_store, flaky, 2)


async def test_cancelled_in_a_later_attempt(any_store: AnyStore) -> None:
    """A cancellation in an attempt is not retried."""
    entered, flaky = asyncio.Event(), Flaky()
    cp, calls = any_store.empty_flow(), list[int]()

    @cp.add_step(retry=THRICE, name="flaky")
    async def step(state: dict[str, object]) -> None:
        calls.append(1)
        state["half"] = True
        if len(calls) < 2:
            raise ConnectionError
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(start(any_store, cp))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert "was cancelled in its part 'step'" in notes_of(info.value)
    assert len(calls) == 2
    await asyncio.to_thread(check_resumes, any_store, flaky, 3)


async def test_cancelled_while_an_attempt_is_recorded(simple_store: AnyStore) -> None:
    """The cancellation waits until the attempt is recorded, and then no attempt follows."""
    flaky = Flaky()

    async def hook(event: object) -> None:
        if isinstance(event, events.AttemptFailed):
            task.cancel()
            await asyncio.sleep(0)
            reported.append(event)

    reported: list[object] = []
    cp = simple_store.empty_flow(hooks=[hook])
    flaky.add(cp)
    task = asyncio.create_task(start(simple_store, cp))
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert len(reported) == 1
    assert type(info.value.__cause__) is ConnectionError
    await asyncio.to_thread(check_resumes, simple_store, flaky, 2)


def test_ctrl_c_while_waiting(any_store: AnyStore) -> None:
    """Under `run`, Ctrl-C ends the wait and is recorded as a cancellation."""
    flaky = Flaky()
    press = partial(signal.raise_signal, signal.SIGINT)
    with when_waiting(press), pytest.raises(KeyboardInterrupt):
        any_store.go(Runner("run"), slow_flow(any_store, flaky), before())
    if any_store.has_headers:
        assert any_store.header().status == "cancelled"
    check_resumes(any_store, flaky, 2)


PROGRAM = """
import sys
from aiocheckpoint import CheckpointFlow, Retry, events

def tell(event):
    if isinstance(event, events.AttemptFailed) and event.attempt == 2:
        print("waiting", flush=True)

cp = CheckpointFlow(sys.argv[1], name="flow", hooks=[tell])

@cp.add_step(retry=Retry(on=lambda error: error.args[0]))
def flaky(state):
    state["deep"][0]["list"].append("half")
    state["n"] = calls.append(1)
    raise OSError(0.0 if len(calls) == 1 else 600.0)

calls = []
cp.run({"deep": [{"list": []}], "gone": 1}, run_id="x")
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", LOCATIONS)
def test_killed_between_two_attempts(kind: str, tmp_path: Path) -> None:
    """During the wait others see the failure. A run killed in it resumes with the next attempt."""
    place = LOCATIONS[kind].format(tmp_path)
    command = [sys.executable, "-c", PROGRAM, place]
    cp, flaky = CheckpointFlow(place, name="flow"), Flaky(failures=1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        header = cp.header("x")
        child.kill()
        assert child.wait(PATIENCE) == -signal.SIGKILL
    assert header is not None
    assert header.failure is not None
    assert (header.status, header.failure.attempt, header.attempts) == ("running", 2, {"flaky": 2})
    flaky.add(cp)
    assert "ended between attempts at 'flaky'" in str(cp.plan(run_id="x"))
    assert cp.read("x") == {**before(), "checkpoint_index": 0}
    assert cp.run(run_id="x") == after()
    assert flaky.attempts == [3, 4]
    header = cp.header("x")
    assert header is not None
    assert (header.status, header.attempts, header.number) == ("finished", {"flaky": 4}, 1)


@needs_fork
@pytest.mark.leaves_files
def test_killed_again_and_again(tmp_path: Path) -> None:
    """A retried and paused run that is killed at random moments ends like an undisturbed one."""
    assert kill_trials(tmp_path, "file", "run", 21, 1) > 0
