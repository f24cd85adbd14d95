"""One dict given to two runs at once: the second is refused before it has stored anything."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import PATIENCE, Runs

from aiocheckpoint import CheckpointFlow, InvalidValueError, RunInProgressError, current_step
from aiocheckpoint._concurrency.backends import SyncBackend
from aiocheckpoint._engine.given_dicts import claim_dicts, release_dicts
from aiocheckpoint._model.request import Request
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from support import Runner, State

REMEDY = r"Give each run a copy, such as dict\(defaults\)"


def customer_flow(runs: Runs, entered: asyncio.Event | None = None) -> CheckpointFlow:
    """Make a flow whose first step names the customer, and whose second writes to them."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def identify(state: State) -> None:
        state["customer"] = current_step().run_id
        if entered is not None:
            await entered.wait()

    @cp.add_step()
    async def address(state: State) -> None:
        state["letter"] = f"Dear {state['customer']}"

    return cp


async def test_one_template_for_all(runs: Runs) -> None:
    """Of five runs with one dict, one has it. The others are refused and store nothing."""
    cp, template = customer_flow(runs), {"currency": "EUR"}
    names = [f"customer-{number}" for number in range(5)]
    calls = (cp.arun(template, run_id=name) for name in names)
    results = await asyncio.gather(*calls, return_exceptions=True)
    (done,) = (result for result in results if isinstance(result, dict))
    assert done is template
    owner = template["customer"]
    assert template["letter"] == f"Dear {owner}"
    errors = [result for result in results if isinstance(result, InvalidValueError)]
    assert len(errors) == 4
    assert all(owner in str(error) and "EUR" not in str(error) for error in errors)
    assert [header.run_id for header in await cp.aruns()] == [owner]


async def test_stores_in_memory_of_one_name() -> None:
    """Two stores of one name have two runs of one id: neither waits, and one has the dict."""
    first, second = (CheckpointFlow("orders", handler=MemoryStateHandler) for _ in range(2))
    entered, free = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> None:
        entered.set()
        await free.wait()
        raise ValueError("the first store's")

    first.add_step(name="only")(hold)
    second.add_step(name="only")(lambda state: state.update(done=True))
    given = {"n": 1}
    failing = asyncio.create_task(first.arun(given, run_id="x"))
    await entered.wait()
    with pytest.raises(InvalidValueError, match="Give each run a copy"):
        await second.arun(given, run_id="x")
    assert (await second.arun(dict(given), run_id="x", once=True, wait=PATIENCE))["done"]
    free.set()
    with pytest.raises(ValueError, match="first"):
        await failing


async def test_pairs_of_amap(runs: Runs) -> None:
    """Each pair whose dict another run has is a result with the error. Copies are none."""
    cp, template = customer_flow(runs), {"currency": "EUR"}
    results = await cp.amap(dict.fromkeys(("a", "b", "c"), template))
    errors = [result.error for result in results if result.error is not None]
    assert [type(error) for error in errors] == [InvalidValueError] * 2
    results = await cp.amap({name: dict(template) for name in ("d", "e")})
    assert [result.error for result in results] == [None, None]


@pytest.mark.parametrize("roles", [("state", "state"), ("data", "data"), ("state", "data")])
async def test_every_role(roles: tuple[str, str], runs: Runs) -> None:
    """The state of one run is not the state of another one, nor its data."""
    shared: State = {"n": 1}
    entered = asyncio.Event()
    cp = customer_flow(runs, entered)
    calls: list[dict[str, Any]] = [{"state": {}, role: shared} for role in roles]
    first, second = calls
    task = asyncio.create_task(cp.arun(**first, run_id="first"))
    while await cp.aheader("first") is None:  # noqa: ASYNC110 - the snapshot tells of its start
        await asyncio.sleep(0)
    with pytest.raises(InvalidValueError, match=REMEDY):
        await cp.arun(**second, run_id="second")
    entered.set()
    await task
    assert await cp.aheader("second") is None
    assert (await cp.arun(**second, run_id="second"))["customer"] == "second"


def test_in_turn(runs: Runs, runner: Runner) -> None:
    """A dict is free again when its run has ended, also by an exception or a refusal."""
    given: State = {"n": 1}
    runs.faults["step b"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(runs.flow(), given, run_id="a")
    with pytest.raises(InvalidValueError):
        runner(runs.flow(), given, run_id="b", checkpoint=7)
    runs.forget()
    for run_id in ("b", "c"):
        assert runner(runs.flow("a"), given, run_id=run_id) is given


def test_inside_a_step(runs: Runs, runner: Runner) -> None:
    """A step cannot hand its own state to another run, which would change it as well."""
    cp, inner = runs.empty_flow(), runs.flow("a")

    @cp.add_step()
    def outer(state: State) -> None:
        with pytest.raises(InvalidValueError, match="outer-run"):
            inner.run(state, run_id="inner-run")
        inner.run(dict(state), run_id="inner-run")

    runner(cp, {"n": 1}, run_id="outer-run")
    assert runs.ran() == ["a"]


async def test_same_run(runs: Runs) -> None:
    """A second call for the same run, with its own dict, is told that the run is in progress."""
    held, free, given = runs.empty_flow(), asyncio.Event(), {"n": 1}

    @held.add_step()
    async def hold(state: State) -> None:
        await free.wait()

    both = [asyncio.create_task(held.arun(given, run_id="x")) for _ in range(2)]
    refused, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert [type(one.exception()) for one in refused] == [RunInProgressError]
    free.set()
    results = await asyncio.gather(*both, return_exceptions=True)
    assert {type(result) for result in results} == {dict, RunInProgressError}
    cp = customer_flow(runs)
    calls = [cp.arun(given, run_id="y", wait=PATIENCE) for _ in range(3)]
    assert await asyncio.gather(*calls) == [given] * 3


async def test_call_that_waited(runs: Runs) -> None:
    """A call that waited for a run with the same dict has the dict as soon as it runs."""
    cp, given = runs.empty_flow(), {"n": 1}
    entered, free = asyncio.Event(), asyncio.Event()

    @cp.add_step()
    async def hold(state: State) -> None:
        if entered.is_set():
            return
        entered.set()
        raise OSError(state["n"])

    @cp.add_step()
    async def hold_on(state: State) -> None:
        entered.clear()
        await free.wait()
        state["held"] = True

    calls = [asyncio.create_task(cp.arun(given, run_id="x", wait=PATIENCE)) for _ in range(2)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    while entered.is_set():  # noqa: ASYNC110 - until the second call is in the second step
        await asyncio.sleep(0.001)
    with pytest.raises(InvalidValueError, match=REMEDY):
        await cp.arun(given, run_id="y")
    free.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {OSError, dict}
    assert await cp.aheader("y") is None


def test_dict_of_a_call_whose_lock_is_gone(runs: Runs) -> None:
    """The next call of a run has the dict before the call that had it releases it."""
    handler, request = runs.empty_flow().handler, Request(state={"n": 1})
    first, second, other = (handler.run_store(one, SyncBackend()) for one in ("x", "x", "y"))
    claim_dicts(request, first, owns=True)
    claim_dicts(request, second)
    claim_dicts(request, second, owns=True)
    release_dicts(request, first)
    with pytest.raises(InvalidValueError, match=REMEDY):
        claim_dicts(request, other)
    release_dicts(request, second)
    claim_dicts(request, other)
    release_dicts(request, other)


def test_between_threads(runs: Runs) -> None:
    """Runs in other threads of the process count as well."""
    cp, given = runs.empty_flow(), {"n": 1}
    entered, free = threading.Event(), threading.Event()

    @cp.add_step()
    def hold(state: State) -> None:
        entered.set()
        assert free.wait(PATIENCE)

    thread = threading.Thread(target=cp.run, args=(given,), kwargs={"run_id": "a"})
    thread.start()
    assert entered.wait(PATIENCE)
    try:
        with pytest.raises(InvalidValueError, match=REMEDY):
            cp.run(given, run_id="b")
    finally:
        free.set()
        thread.join(PATIENCE)
    assert cp.run(given, run_id="b") is given


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_in_a_forked_child(runs: Runs) -> None:
    """A child has its own copy of the dict, and may give it to a run."""
    if runs.kind == "memory":
        pytest.skip("a child sees none of this memory")
    cp, given = runs.empty_flow(), {"n": 1}

    @cp.add_step()
    def fork(state: State) -> None:
        if current_step().run_id == "child":
            return
        if child := os.fork():
            state["code"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            return
        try:
            os._exit(7 if cp.run(given, run_id="child") is given else 1)
        finally:
            os._exit(2)

    assert cp.run(given, run_id="parent")["code"] == 7
