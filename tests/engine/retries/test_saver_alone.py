"""A saver that raised is called again alone: the step's work is kept."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from flaky_steps import AT_ONCE, THRICE, AnyStore, Flaky, after, before
from locations import program

from aiocheckpoint import CheckpointFlow, DrainingError, Retry, StepTimeoutError, events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State

sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@dataclass
class Point:
    """A value that only a thread pickles under `arun`."""

    x: int


class Unloadable:
    """A value that can be pickled and not be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Load by a call that raises."""
        return int, ("no number",)


def failing(times: int, change: Callable[[State, State], object]) -> Callable[..., None]:
    """Make a saver that changes both dicts, and raises so many times."""
    left = [times]

    def save(state: State, data: State) -> None:
        change(state, data)
        if left[0]:
            left[0] -= 1
            raise ConnectionError("not yet")

    return save


@sync_and_async
def test_begins_behind_the_step(any_store: AnyStore, runner: Runner, *, asynchronous: bool) -> None:
    """The saver has the state as the step left it, and `data` with what it changed inside."""
    cp, given = any_store.empty_flow(), before()
    flaky = Flaky(part="save", asynchronous=asynchronous)
    flaky.add(cp)
    assert any_store.go(runner, cp, given, "always") is given
    assert given == after()
    assert (len(flaky.entered("load")), len(flaky.entered("step"))) == (1, 1)
    states, contents = zip(*flaky.entered("save"), strict=True)
    behind = {"deep": [{"list": ["load", "step"]}], "load done": True, "step done": True}
    assert list(states) == [behind] * 3
    rows = [1, 2, "step"]
    assert list(contents) == [
        {"rows": [*rows, *["save"] * failed], "step done": True} for failed in range(3)
    ]
    assert flaky.attempts == [1, 2, 3]
    assert len({step.idempotency_key for step in flaky.steps}) == 1
    if any_store.has_headers:
        assert any_store.header().attempts == {"flaky": 3}
    assert any_store.stored() == {**after(), "checkpoint_index": 0}


def test_state_of_objects(runner: Runner, tmp_path: Path) -> None:
    """A changed instance is restored. One that the saver left alone is still shared with `data`."""
    cp, seen = CheckpointFlow(tmp_path / "c.pkl", fsync=False), list[tuple[int, bool]]()

    def change(state: State, data: State) -> None:
        seen.append((state["point"].x, state["point"] is data["point"]))
        state["point"].x += len(seen) - 1

    @cp.add_step(save=failing(3, change), retry=Retry(attempts=9, **AT_ONCE))
    def step(state: State, data: State) -> None:
        state["point"] = data["point"] = Point(1)

    assert runner(cp, {})["point"] == Point(4)
    assert seen == [(1, True), (1, True), (1, False), (1, False)]


def test_durations_have_the_step(file_store: AnyStore, runner: Runner) -> None:
    """The recorded duration is that of the step and of the saver's last call."""
    cp = file_store.empty_flow()

    @cp.add_step(save=failing(1, lambda state, data: None), retry=THRICE)
    def step(state: State) -> int:
        time.sleep(0.05)
        return 1

    runner(cp, {})
    (finished,) = file_store.events_of(events.StepFinished)
    assert list(finished.seconds) == ["step", "save"]
    assert finished.result_ignored
    assert finished.seconds["step"] >= 0.05
    assert file_store.header().durations["step"] >= 0.05


def test_time_begins_behind_the_step(file_store: AnyStore, runner: Runner) -> None:
    """A step that took longer than `Retry(timeout=)` keeps its work as well."""
    cp, calls = file_store.empty_flow(), list[str]()
    retry = Retry(timeout=0.5, **AT_ONCE)

    @cp.add_step(save=failing(1, lambda state, data: calls.append("save")), retry=retry)
    def step(state: State) -> None:
        calls.append("step")
        time.sleep(0.6)

    runner(cp, {})
    assert calls == ["step", "save", "save"]


def test_time_of_savers_ends(file_store: AnyStore, runner: Runner) -> None:
    """A saver that never succeeds is given up after `Retry(timeout=)`."""
    cp, calls = file_store.empty_flow(), list[str]()
    retry = Retry(attempts=None, timeout=0.1, wait_initial=0.02, wait_jitter=0.0)
    save = failing(10**6, lambda state, data: calls.append("save"))
    cp.add_step(save=save, retry=retry, name="step")(lambda state: calls.append("step"))
    with pytest.raises(ConnectionError):
        runner(cp, {})
    assert calls.count("step") == 1
    assert calls.count("save") > 1
    failed = file_store.events_of(events.AttemptFailed)
    assert len(failed) == calls.count("save")


@pytest.mark.parametrize("value", [sys.stdout, Unloadable()], ids=["stored", "loaded"])
def test_repeated_whole(value: object, runner: Runner, tmp_path: Path) -> None:
    """Where the state behind the step cannot be kept, the whole step is repeated."""
    cp, calls = CheckpointFlow(tmp_path / "c.pkl"), list[str]()

    def change(state: State, data: State) -> None:
        del state["value"]
        calls.append("save")

    @cp.add_step(save=failing(1, change), retry=THRICE)
    def step(state: State) -> None:
        state["value"] = value
        calls.append("step")

    assert runner(cp, {}) == {}
    assert calls == ["step", "save", "step", "save"]


async def test_time_limit_of_a_saver(tmp_path: Path) -> None:
    """A saver cancelled by `timeout=` is called again alone."""
    cp, calls = CheckpointFlow(tmp_path / "c.pkl"), list[str]()

    async def save(state: State) -> None:
        calls.append("save")
        if len(calls) == 2:
            await asyncio.sleep(60.0)

    @cp.add_step(save=save, retry=Retry(on=StepTimeoutError, **AT_ONCE), timeout=0.2)
    async def step(state: State) -> None:
        calls.append("step")

    await cp.arun({})
    assert calls == ["step", "save", "save"]


async def test_drained_between(tmp_path: Path) -> None:
    """A drain between two calls of a saver stops the run at its step, which is done again."""
    cp, calls = CheckpointFlow(tmp_path / "c.pkl"), list[str]()
    slowly = Retry(wait_initial=0.3, wait_jitter=0.0)
    asked = asyncio.Event()

    async def save(state: State) -> None:
        calls.append("save")
        asked.set()
        if len(calls) == 2:
            raise ConnectionError("not yet")

    def flow() -> CheckpointFlow:
        cp = CheckpointFlow(tmp_path / "c.pkl")
        cp.add_step(save=save, retry=slowly, name="step")(lambda state: calls.append("step"))
        return cp

    cp = flow()
    run = asyncio.create_task(cp.arun({}))
    await asked.wait()
    assert await cp.adrain() == []
    with pytest.raises(DrainingError):
        await run
    await flow().arun()
    assert calls == ["step", "save", "step", "save"]


def test_killed_between(tmp_path: Path) -> None:
    """A process killed between two calls of a saver leaves the run at its step."""
    words = [sys.executable, str(program("saver_kill_script.py")), str(tmp_path)]
    first = subprocess.Popen([*words, "fail"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert [first.stdout.readline() for _ in range(3)] == ["step\n", "save 1\n", "failed\n"]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == ["step", "save 2", "{'work': 1}"]
