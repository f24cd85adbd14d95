"""`current_step()`: the step and run that are executing, in every context."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pool_in_step_script
import pytest
import resume_script
from run_factories import PATIENCE, Runs, resume_all
from support import Runner, State, do_nothing

from aiocheckpoint import CheckpointFlow, CurrentStep, OutsideStepError, current_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = ("load", "step", "save")


def asking(seen: list[CurrentStep], *, asynchronous: bool) -> Callable[..., Any]:
    """Make a loader, step or saver that records its `current_step()`."""

    def note(state: State) -> State:
        seen.append(current_step())
        return {}

    async def anote(state: State) -> State:
        await asyncio.sleep(0)
        return note(state)

    return anote if asynchronous else note


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("thread", [True, False], ids=["thread", "loop"])
def test_in_every_part(*, asynchronous: bool, thread: bool, runs: Runs, any_runner: Runner) -> None:
    """Loaders, steps and savers of each kind see their step, through every runner."""
    cp, seen = runs.empty_flow(name="flow"), list[CurrentStep]()
    ask = asking(seen, asynchronous=asynchronous)
    for name in ("one", "two"):
        cp.add_step(ask, ask, name=name, thread=thread)(ask)
    any_runner(cp, {}, "always", run_id="x")
    wanted = [CurrentStep("flow", "x", 1, name, 1) for name in ("one", "two")]
    assert seen == [wanted[0]] * 3 + [wanted[1]] * 3


def test_outside() -> None:
    """Outside of a step `current_step()` raises, and the error names the contexts that have one."""
    with pytest.raises(OutsideStepError, match=r"asyncio\.to_thread") as info:
        current_step()
    assert isinstance(info.value, LookupError)


def test_outside_again(runs: Runs, any_runner: Runner) -> None:
    """Before and after a run, failed or not, and in its hooks, no step is executing."""
    reported: list[bool] = []

    def hook(event: object) -> None:
        try:
            current_step()
        except OutsideStepError:
            reported.append(False)
        else:
            reported.append(True)

    cp = CheckpointFlow(runs.path, hooks=[hook], **runs.options)
    cp.add_step(name="a")(lambda state: 1 // state["n"] and None)
    for number, kind in ((1, None), (0, ZeroDivisionError)):
        if kind is None:
            any_runner(cp, {"n": number})
        else:
            with pytest.raises(kind):
                any_runner(cp, {"n": number})
        with pytest.raises(OutsideStepError):
            current_step()
    assert (reported[0], True in reported) == (False, True)


async def test_side_by_side(runs: Runs) -> None:
    """Simultaneous runs each see their own step, across awaits and in threads."""
    cp, meet = runs.empty_flow(name="flow"), asyncio.Barrier(20)

    @cp.add_step()
    async def one(state: State) -> None:
        await meet.wait()
        state["in loop"] = current_step().run_id
        state["in thread"] = (await asyncio.to_thread(current_step)).run_id

    @cp.add_step()
    def two(state: State) -> None:
        state["sync"] = current_step().run_id

    tasks = [cp.arun({}, run_id=f"{number}") for number in range(20)]
    for number, state in enumerate(await asyncio.gather(*tasks)):
        assert list(state.values()) == [f"{number}"] * 3


def test_threads_and_tasks(runs: Runs, any_runner: Runner) -> None:
    """Tasks of a step and `asyncio.to_thread` have its context. A bare thread has not."""
    cp, seen = runs.empty_flow(), dict[str, object]()

    def in_thread(name: str) -> None:
        try:
            seen[name] = current_step().step
        except OutsideStepError:
            seen[name] = None

    @cp.add_step()
    async def spread(state: State) -> None:
        await asyncio.to_thread(in_thread, "to_thread")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(in_thread, "task"))
        bare = threading.Thread(target=in_thread, args=("bare",))
        context = contextvars.copy_context()
        given = threading.Thread(target=context.run, args=(in_thread, "given"))
        for thread in (bare, given):
            thread.start()
            await asyncio.to_thread(thread.join, PATIENCE)

    any_runner(cp, {})
    assert seen == {"to_thread": "spread", "task": "spread", "bare": None, "given": "spread"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("pool", ["executor-fork", "pool-fork", "executor-spawn"])
def test_worker_processes_have_no_step(pool: str, tmp_path: Path) -> None:
    """A pool of processes made in a step of one run gives no other run that step's key."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning"]  # Python 3.12 on forks
    command += [pool_in_step_script.__file__, f"{tmp_path}/", pool]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [(run, step) for run in ("order-1", "order-2") for step in ("on loop", "in thread")]
    assert [(run, step) for run, step, *_ in lines] == wanted
    for _, _, key, echoed, found, inner in lines:
        assert "pool.submit(f, current_step().idempotency_key)" in found
        assert ("forked" in found) == pool.endswith("fork")
        assert (echoed, inner) == (key, "inner")  # As an argument, and of a run in the worker.


def test_a_bare_fork_has_no_step(runs: Runs) -> None:
    """A child that a step forks is no place for the step's key, however it continues."""
    cp = runs.empty_flow()

    @cp.add_step()
    def fork(state: State) -> None:
        state["key"] = current_step().idempotency_key
        child = os.fork()
        if child == 0:
            try:
                current_step()
            except OutsideStepError:
                os._exit(7)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        state["status"] = os.waitstatus_to_exitcode(status)
        assert state["key"] == current_step().idempotency_key

    assert cp.run({}, run_id="x")["status"] == 7


async def test_what_outlives_its_step(runs: Runs) -> None:
    """A task and a thread of an ended step have no step, though another run asks them."""
    cp, asked, answers = runs.empty_flow(name="flow"), asyncio.Queue[Any](), list[str | None]()
    workers: list[asyncio.Task[None]] = []
    pool = ThreadPoolExecutor(1)

    def answer() -> str | None:
        try:
            return current_step().run_id
        except OutsideStepError as error:
            return "ended" if "has ended" in str(error) else None

    async def work() -> None:
        while True:
            (await asked.get()).set_result(answer())

    @cp.add_step()
    async def ask(state: State) -> None:
        if not workers:
            workers.append(asyncio.create_task(work()))
            state["context"] = contextvars.copy_context()
            pool.submit(int).result()
        reply = asyncio.get_running_loop().create_future()
        asked.put_nowait(reply)
        answers.extend([await reply, pool.submit(answer).result()])
        contexts.append(state.pop("context", None))

    contexts: list[Any] = []
    for run_id in ("x", "y"):
        await cp.arun({}, run_id=run_id)
    assert answers == ["x", None, "ended", None]
    assert contexts[0].run(answer) == "ended"
    assert await cp.adrain() == []  # A task of an ended step is in no run.
    workers[0].cancel()
    pool.shutdown()


def test_nested_flows(runs: Runs, any_runner: Runner) -> None:
    """An inner run's step hides the outer step while it is executing, and no longer."""
    inner, seen = CheckpointFlow("inner", handler=runs.memory, name="inner"), list[str]()
    inner.add_step(name="in")(lambda state: seen.append(current_step().step))
    outer = CheckpointFlow("outer", handler=type(runs.memory)("outer"), name="outer")

    @outer.add_step(name="out")
    def run_inner(state: State) -> None:
        seen.append(current_step().step)
        inner.run({}, run_id="x")
        seen.append(current_step().step)

    any_runner(outer, {})
    assert seen == ["out", "in", "out"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "error", [ValueError("a"), asyncio.CancelledError()], ids=["fail", "cancel"]
)
def test_attempts_are_counted(
    part: str, error: BaseException, database: Runs, any_runner: Runner
) -> None:
    """Failures and cancellations of a step count in any part. Other steps begin at one."""
    seen: list[tuple[str, int]] = []

    def act(state: State) -> State:
        step = current_step()
        seen.append((step.step, step.attempt))
        if step.step == "two" and step.attempt < 4:
            raise error
        return {}

    cp = database.empty_flow()
    cp.add_step(name="one")(act)
    parts = {"load": {"load": act}, "save": {"save": act}}.get(part, {})
    cp.add_step(**parts, name="two")(act if part == "step" else do_nothing)  # type: ignore[call-overload]
    cp.add_step(name="three")(act)
    for _ in range(3):
        with pytest.raises(type(error)):
            any_runner(cp, {}, "always", run_id="x")
    any_runner(cp, {}, "always", run_id="x")
    assert seen == [("one", 1), *(("two", number) for number in (1, 2, 3, 4)), ("three", 1)]
    error.__traceback__ = None


def test_a_new_run_counts_anew(runs: Runs, runner: Runner) -> None:
    """The next run of the same id has another number, and its attempts begin at one."""
    cp, seen = runs.empty_flow(), list[CurrentStep]()
    cp.add_step(name="a")(lambda state: seen.append(current_step()))
    for _ in range(3):
        runner(cp, {}, run_id="x")
    assert [(step.number, step.attempt) for step in seen] == [(1, 1), (2, 1), (3, 1)]


# --- keys


def test_keys_differ(runs: Runs, runner: Runner) -> None:
    """Flow, run, number and step each change the key. Nothing else does."""
    keys: list[str] = []
    for name in ("flow", "other"):
        cp = runs.empty_flow(name=name)
        for step in ("one", "two"):
            cp.add_step(name=step)(lambda state: keys.append(current_step().idempotency_key))
        # Flows of two names share no directory, where the run without an id has one file.
        for run_id in ("x", "y", *((None,) if name == "flow" else ())):
            for _ in range(2):
                runner(cp, {}, run_id=None if run_id is None else f"{name}-{run_id}")
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {64}


def test_parts_of_a_key_do_not_run_together() -> None:
    """Parts with quotes are not taken for two parts, and numbers are not taken for text."""
    facts = [("a", "b", 1, "c", 1), ('a", "b', None, 1, "c", 1), ("a", "b1", 1, "c", 1)]
    facts += [("a", None, 1, "c", 1), ("a", "null", 1, "c", 1), ("a", "b", 11, "c", 1)]
    assert len({CurrentStep(*one).idempotency_key for one in facts}) == len(facts)


def test_key_is_as_documented() -> None:
    """The key stays the same in later releases, because outside systems store it."""
    key = CurrentStep("orders", "order-42", 1, "charge", 3).idempotency_key
    assert key == hashlib.sha256(b'["orders", "order-42", 1, "charge"]').hexdigest()


def test_key_of_odd_ids() -> None:
    """Any id has a key."""
    keys = {CurrentStep("f", one, 1, "s", 1).idempotency_key for one in ("\ud800", "\0", "é" * 999)}
    assert len(keys) == 3


def test_key_is_stable_across_processes(durable_runs: Runs) -> None:
    """A step that failed in one process has the same key in the next, at attempt 2."""
    handler = durable_runs.options["handler"]
    cp = resume_script.make_flow(str(durable_runs.path), handler)
    with pytest.raises(ValueError, match="x"):
        cp.run({"who": "x", "breaks": True}, run_id="x")
    (failed,) = cp.runs("failed")
    command = [sys.executable, resume_script.__file__, "resume", str(durable_runs.path), handler]
    subprocess.run(command, check=True, capture_output=True)
    state, number = cp.read("x"), failed.number
    here = [
        CurrentStep(cp.name, "x", number, step, 1).idempotency_key for step in ("ask", "report")
    ]
    assert ([state["key"], state["told"]], state["attempts"]) == (here, [2])
    assert resume_all(cp) == {}
