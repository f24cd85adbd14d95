"""`connections=`: how many attempts have a connection at once, and how the others wait."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from payments import KINDS, PATIENCE, Gate, apay, pay

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidTypeError,
    InvalidValueError,
    RunTerminatedError,
    current_step,
)

if TYPE_CHECKING:
    from payments import Shop
    from support import State

each_kind = pytest.mark.parametrize("kind", KINDS)


class Queue:
    """A flow with one connection, which the run "holder" holds, while the run "waiter" waits.

    Attributes:
        flow: The flow.
        gate: The holder is behind its payment there.
    """

    def __init__(self, shop: Shop, kind: str, **options: Any) -> None:  # noqa: ANN401
        """Make the flow."""
        self.gate = Gate()
        self._asks = threading.Event()
        self.flow: CheckpointFlow = shop.flow(connections=1)
        step: Any = self._on_loop if kind == "coroutine" else self._in_thread
        self.flow.add_step(name="step", **options)(step)

    async def _on_loop(self, state: State) -> None:
        holds = current_step().run_id == "holder"
        if not holds:
            self._asks.set()
        await apay(state)
        if holds:
            await asyncio.to_thread(self.gate.wait)

    def _in_thread(self, state: State) -> None:
        holds = current_step().run_id == "holder"
        if not holds:
            self._asks.set()
        pay(state)
        if holds:
            self.gate.wait()

    async def hold(self) -> asyncio.Task[State]:
        """Begin the run that holds the connection."""
        task = asyncio.create_task(self.flow.arun({}, run_id="holder"))
        await asyncio.to_thread(self.gate.reached)
        return task

    async def wait(self) -> asyncio.Task[State]:
        """Begin a run that waits."""
        task = asyncio.create_task(self.flow.arun({}, run_id="waiter"))
        assert await asyncio.to_thread(self._asks.wait, PATIENCE)
        await asyncio.sleep(0.1)
        assert not task.done()
        return task

    async def end(self, holder: asyncio.Task[State]) -> None:
        """Let the holder end."""
        self.gate.open()
        await holder


@each_kind
async def test_turns(shop: Shop, kind: str) -> None:
    """The attempt that waits gets the connection when the other attempt has ended."""
    queue = Queue(shop, kind)
    holder = await queue.hold()
    waiter = await queue.wait()
    await queue.end(holder)
    await asyncio.wait_for(waiter, PATIENCE)
    assert shop.paid() == {("holder", "step"): 1, ("waiter", "step"): 1}


async def test_wait_is_no_part_of_the_time_limit(shop: Shop) -> None:
    """The time limit of the step stands still while it waits for the connection."""
    queue = Queue(shop, "coroutine")
    holder = await queue.hold()
    limited = CheckpointFlow(shop.url, handler=queue.flow.handler, name="limited")

    @limited.add_step(timeout=0.3)
    async def step(state: State) -> None:
        await apay(state)

    waiter = asyncio.create_task(limited.arun({}, run_id="limited"))
    await asyncio.sleep(0.8)
    await queue.end(holder)
    await asyncio.wait_for(waiter, PATIENCE)
    assert shop.paid()["limited", "step"] == 1


@each_kind
async def test_drain_ends_the_wait(shop: Shop, kind: str) -> None:
    """A drain stops the run that waits, before its step. The next process runs it."""
    queue = Queue(shop, kind)
    holder = await queue.hold()
    waiter = await queue.wait()
    drain = asyncio.create_task(queue.flow.adrain())
    with pytest.raises(DrainingError):
        await asyncio.wait_for(waiter, PATIENCE)
    assert not holder.done()
    header = shop.header("waiter")
    assert (header.status, header.stopped_by, header.position) == ("stopped", "drain", 0)
    await queue.end(holder)
    await drain
    assert shop.paid() == {("holder", "step"): 1}


@each_kind
async def test_step_of_a_drained_flow(shop: Shop, kind: str) -> None:
    """A step that is under way when the flow is drained gets a connection that is free."""
    gate = Gate()

    async def on_loop(state: State) -> None:
        await asyncio.to_thread(gate.wait)
        await apay(state)

    def in_thread(state: State) -> None:
        gate.wait()
        pay(state)

    cp = shop.flow(on_loop if kind == "coroutine" else in_thread)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await asyncio.to_thread(gate.reached)
    drain = asyncio.create_task(cp.adrain())
    await asyncio.sleep(0.05)
    gate.open()
    await drain
    await task
    assert (shop.header().status, shop.paid()) == ("finished", {("r", "step 0"): 1})


@each_kind
@pytest.mark.parametrize("scope", ["task", "anyio"])
async def test_cancellation_ends_the_wait(shop: Shop, kind: str, scope: str) -> None:
    """A cancelled run waits no more, in a thread neither, and leaves the queue to others."""
    queue = Queue(shop, kind)
    holder = await queue.hold()
    if scope == "task":
        waiter = await queue.wait()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiter, PATIENCE)
    else:
        with anyio.move_on_after(0.2):
            await queue.flow.arun({}, run_id="waiter")
    assert not holder.done()
    assert shop.header("waiter").status == "cancelled"
    await queue.end(holder)
    await queue.flow.arun(None, run_id="waiter")
    assert shop.paid() == {("holder", "step"): 1, ("waiter", "step"): 1}


@each_kind
async def test_termination_ends_the_wait(shop: Shop, kind: str) -> None:
    """A run that is terminated waits no more."""
    queue = Queue(shop, kind)
    holder = await queue.hold()
    waiter = await queue.wait()
    await queue.flow.aterminate("waiter", "enough", wait=PATIENCE)
    with pytest.raises(RunTerminatedError, match="enough"):
        await waiter
    assert not holder.done()
    await queue.end(holder)


async def test_failed_attempts_give_it_back(shop: Shop) -> None:
    """Attempts that fail, are cancelled or cannot be committed leave the connection to the next."""

    async def step(state: State) -> None:
        connection = await current_step().connection()
        match state["how"]:
            case "fails":
                raise ValueError
            case "is aborted":
                with pytest.raises(Exception, match="division"):
                    await connection.execute("SELECT 1 / 0")
            case "breaks":
                connection.pgconn.finish()
            case "is cancelled":
                await connection.execute("SELECT pg_sleep(600)")
            case _:
                await apay(state)

    cp = shop.flow(step, connections=1, patience=1.0)
    for how in ("fails", "is aborted", "breaks", "pays"):
        await asyncio.wait([asyncio.create_task(cp.arun({"how": how}, run_id=how))])
    with anyio.move_on_after(0.3):
        await cp.arun({"how": "is cancelled"}, run_id="cancelled")
    await cp.arun({"how": "pays"}, run_id="last")
    assert set(shop.paid()) == {("pays", "step 0"), ("last", "step 0")}


async def test_step_that_waits_for_another_run(shop: Shop) -> None:
    """A step may run another flow in its transaction's time, if there are connections for both."""

    async def inner(state: State) -> None:
        await apay(state)

    inside = shop.flow(inner, connections=2)

    async def step(state: State) -> None:
        await apay(state)
        await inside.arun({}, run_id="inner")

    cp = CheckpointFlow(shop.url, handler=inside.handler, name="outer")
    cp.add_step()(step)
    await cp.arun({}, run_id="outer")
    assert shop.paid() == {("outer", "step"): 1, ("inner", "step 0"): 1}


@pytest.mark.parametrize("connections", [0, -1, True, 1.5, "2", None])
def test_bad_numbers(shop: Shop, connections: object) -> None:
    """The number is an int of one at least."""
    with pytest.raises((InvalidTypeError, InvalidValueError), match="connections="):
        CheckpointFlow(shop.url, connections=connections)  # type: ignore[arg-type]
