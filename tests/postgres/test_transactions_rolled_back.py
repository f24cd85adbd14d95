"""A transaction is rolled back with its attempt, however that ends without a snapshot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import psycopg
import pytest
from flaky_steps import AT_ONCE
from payments import KINDS, PAY, SLEEPING, Gate, apay, pay, payer, until
from support import do_nothing

from aiocheckpoint import (
    Pause,
    Retry,
    RunTerminatedError,
    StepTimeoutError,
    StepTransactionError,
    Terminate,
    UnserializableStateError,
    current_step,
    events,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from payments import Shop
    from support import Runner, State

each_kind = pytest.mark.parametrize("kind", KINDS)
THRICE = Retry(attempts=3, **AT_ONCE)


def raising(*errors: BaseException | None) -> Callable[[], None]:
    """Make a function that raises one exception at each call, and nothing for None."""
    waiting = list(errors)

    def call() -> None:
        error = waiting.pop(0)
        if error is not None:
            raise error

    return call


@each_kind
def test_failure(shop: Shop, kind: str, any_runner: Runner) -> None:
    """A step that fails has paid nothing. The next run pays, from the state on entry."""
    error = ValueError("no")
    cp = shop.flow(payer(kind, raising(error, None)))
    with pytest.raises(ValueError, match="no") as info:
        any_runner(cp, {"id": 1}, run_id="r")
    assert info.value is error
    assert (shop.header().status, shop.paid()) == ("failed", {})
    assert any_runner(cp, None, run_id="r") == {"id": 1, "paid": 1}
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_retry(shop: Shop, kind: str, runner: Runner) -> None:
    """Each attempt has a transaction of its own, and only the last one pays."""
    ids: list[int] = []

    def note() -> None:
        ids.append(len(shop.sql("SELECT 1 FROM pg_stat_activity WHERE state ~ 'in transaction'")))
        fail()

    fail = raising(ValueError(), ValueError(), None)
    cp = shop.flow()
    cp.add_step(name="step 0", retry=THRICE)(payer(kind, note))
    assert runner(cp, {}, run_id="r") == {"paid": 1}
    assert shop.paid() == {("r", "step 0"): 1}
    assert ids == [1, 1, 1]
    assert shop.header().attempts == {"step 0": 3}


@each_kind
def test_saver_is_not_called_alone(shop: Shop, kind: str, runner: Runner) -> None:
    """A step that took its connection is repeated whole behind a saver that raised."""
    calls: list[str] = []
    fail = raising(ValueError(), None)

    def load(state: State) -> State:
        calls.append("load")
        return {"rows": 1}

    def save(state: State) -> None:
        calls.append("save")
        fail()

    cp = shop.flow()
    step = payer(kind, lambda: calls.append("step"))
    cp.add_step(name="step 0", load=load, save=save, retry=THRICE)(step)
    assert runner(cp, {}, run_id="r", load_policy="always") == {"paid": 1}
    assert calls == ["load", "step", "save"] * 2
    assert shop.paid() == {("r", "step 0"): 1}


def test_saver_alone_that_takes_it(shop: Shop, runner: Runner) -> None:
    """A saver may take the connection first. Where it fails then, all is repeated."""
    calls: list[str] = []
    fail = raising(ValueError("early"), ValueError("late"), None)

    def step(state: State) -> None:
        calls.append("step")

    def save(state: State) -> None:
        calls.append("save")
        if len(calls) == 2:
            fail()
        pay(state)
        fail()

    cp = shop.flow()
    cp.add_step(name="step 0", save=save, retry=THRICE)(step)
    runner(cp, {}, run_id="r")
    assert calls == ["step", "save", "save", "step", "save"]
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_pause(shop: Shop, kind: str, runner: Runner) -> None:
    """A step that pauses its run has paid nothing, and pays behind the answer."""
    cp = shop.flow(payer(kind, raising(Pause("approval"), None)))
    assert runner(cp, {}, run_id="r") == {}
    assert (shop.header().status, shop.paid()) == ("paused", {})
    assert runner.do(cp, "resume", "r", update={"ok": True}) == {"ok": True, "paid": 1}
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_termination_by_the_step(shop: Shop, kind: str, runner: Runner) -> None:
    """A step that terminates its run has paid nothing."""
    cp = shop.flow(payer(kind, raising(Terminate("declined"))))
    with pytest.raises(RunTerminatedError, match="declined"):
        runner(cp, {}, run_id="r")
    assert (shop.header().status, shop.paid()) == ("terminated", {})


async def test_termination_by_hand(shop: Shop) -> None:
    """A coroutine that is terminated from outside has paid nothing."""
    paid = asyncio.Event()

    async def step(state: State) -> None:
        await apay(state)
        paid.set()
        await asyncio.Event().wait()

    cp = shop.flow(step)
    run = asyncio.create_task(cp.arun({}, run_id="r"))
    await paid.wait()
    await cp.aterminate("r", "enough", wait=60)
    with pytest.raises(RunTerminatedError, match="enough"):
        await run
    assert (shop.header().status, shop.paid()) == ("terminated", {})


async def cancel_natively(run: Coroutine[Any, Any, object], when: asyncio.Event) -> None:
    """Cancel the task of a run."""
    task = asyncio.create_task(run)
    await when.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_by_timeout(run: Coroutine[Any, Any, object], when: asyncio.Event) -> None:
    """Let the time be over that asyncio gives a run."""

    async def limited() -> None:
        async with asyncio.timeout(None) as timeout:
            waiting = asyncio.ensure_future(when.wait())
            waiting.add_done_callback(lambda _: timeout.reschedule(0.0))
            await run

    with pytest.raises(TimeoutError):
        await limited()


async def cancel_by_scope(run: Coroutine[Any, Any, object], when: asyncio.Event) -> None:
    """Cancel the scope of anyio in which a run is, which cancels each of its awaits."""

    async def await_run() -> None:
        await run

    async with anyio.create_task_group() as group:
        group.start_soon(await_run)
        await when.wait()
        group.cancel_scope.cancel()


@pytest.mark.parametrize("cancel", [cancel_natively, cancel_by_timeout, cancel_by_scope])
@pytest.mark.parametrize("place", ["beside", "in a statement"])
async def test_cancelled_coroutine(
    shop: Shop, cancel: Callable[..., Coroutine[Any, Any, None]], place: str
) -> None:
    """A cancelled coroutine has paid nothing, whatever it was in. The next run pays."""
    paid = asyncio.Event()
    hangs = [True]

    async def step(state: State) -> None:
        await apay(state)
        paid.set()
        if hangs.pop() if hangs else False:
            if place == "beside":
                await asyncio.Event().wait()
            connection = await current_step().connection()
            await connection.execute("SELECT pg_sleep(600)")

    cp = shop.flow(step)
    await cancel(cp.arun({}, run_id="r"), paid)
    assert (shop.header().status, shop.paid()) == ("cancelled", {})
    until(lambda: shop.sql(SLEEPING) == [(0,)])  # The server may be busy with it for a moment.
    await cp.arun(None, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


async def test_cancelled_behind_a_sync_step(shop: Shop) -> None:
    """A sync step that returns while a cancellation waits for it is done, and has paid."""
    gate = Gate()
    cp = shop.flow(payer("sync", gate.wait), do_nothing)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await asyncio.to_thread(gate.reached)
    task.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (shop.header().status, shop.header().position) == ("cancelled", 1)
    assert shop.paid() == {("r", "step 0"): 1}


async def test_cancelled_in_the_commit(shop: Shop) -> None:
    """A cancellation that comes in the commit waits for it. The step is done."""
    shop.slow_commits(0.5)
    cp = shop.flow(apay, do_nothing)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await asyncio.to_thread(until, shop.is_committing)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (shop.header().status, shop.header().position) == ("cancelled", 1)
    assert shop.paid() == {("r", "step 0"): 1}


async def test_timeout(shop: Shop) -> None:
    """An attempt over its time is rolled back, and the next one pays."""
    hangs = [True]

    async def step(state: State) -> None:
        await apay(state)
        if hangs.pop() if hangs else False:
            connection = await current_step().connection()
            await connection.execute("SELECT pg_sleep(600)")

    cp = shop.flow()
    retry = Retry(on=StepTimeoutError, attempts=2, **AT_ONCE)
    cp.add_step(name="step 0", timeout=0.5, retry=retry)(step)
    await cp.arun({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}
    assert len([one for one in shop.events if isinstance(one, events.AttemptFailed)]) == 1
    shop.events.clear()


@each_kind
def test_state_that_cannot_be_stored(shop: Shop, kind: str, runner: Runner) -> None:
    """The payment is rolled back, and no call stores the state behind the step without it."""

    def step(state: State) -> None:
        pay(state)
        state["bad"] = open
        state["bad"] = (one for one in "x")

    cp = shop.flow(step)
    with pytest.raises(UnserializableStateError, match=r'state\["bad"\]') as info:
        runner(cp, {"id": kind}, run_id="r")
    assert info.value.state is None
    assert "handler.write" not in str(info.value)
    assert (cp.handler.read("r"), shop.paid()) == ({"id": kind, "checkpoint_index": 0}, {})


def test_reserved_key(shop: Shop, runner: Runner) -> None:
    """A state that is refused behind the step takes the payment with it."""

    def step(state: State) -> None:
        pay(state)
        state["checkpoint_data"] = 1

    with pytest.raises(ValueError, match="checkpoint_data"):
        runner(shop.flow(step), {}, run_id="r")
    assert (shop.header().status, shop.paid()) == ("failed", {})


def defer_constraint(shop: Shop) -> None:
    """Let the table take each payment once, which is checked at the commit."""
    shop.sql(
        "ALTER TABLE payments ADD CONSTRAINT once UNIQUE (run, step) DEFERRABLE INITIALLY DEFERRED"
    )


@each_kind
def test_refused_commit(shop: Shop, kind: str, runner: Runner) -> None:
    """What the server refuses at the commit is the step's error. Nothing is stored."""
    defer_constraint(shop)
    shop.sql(PAY, "r", "step 0")
    cp = shop.flow(payer(kind))
    with pytest.raises(psycopg.errors.UniqueViolation) as info:
        runner(cp, {"id": 1}, run_id="r")
    assert "step 1 of 1, 'step 0', broke in its part 'snapshot'" in str(info.value.__notes__)
    failure = shop.header().failure
    assert failure is not None
    assert (failure.type, failure.part) == ("psycopg.errors.UniqueViolation", "snapshot")
    assert cp.handler.read("r") == {"id": 1, "checkpoint_index": 0}
    shop.sql("DELETE FROM payments")
    assert runner(cp, None, run_id="r") == {"id": 1, "paid": 1}


@each_kind
def test_refused_commit_is_retried(shop: Shop, kind: str, runner: Runner) -> None:
    """The policy of the step decides on an error of its commit, as on any other error."""
    defer_constraint(shop)
    shop.sql(PAY, "r", "step 0")
    attempts: list[int] = []

    def note() -> None:
        attempts.append(current_step().attempt)
        if len(attempts) == 3:
            shop.sql("DELETE FROM payments")

    cp = shop.flow()
    retry = Retry(on=psycopg.errors.UniqueViolation, attempts=3, **AT_ONCE)
    cp.add_step(name="step 0", retry=retry)(payer(kind, note))
    assert runner(cp, {"id": 1}, run_id="r") == {"id": 1, "paid": 1}
    assert (attempts, shop.paid()) == ([1, 2, 3], {("r", "step 0"): 1})
    assert shop.header().status == "finished"


def test_serialization_failure(shop: Shop, runner: Runner) -> None:
    """A step that chose its isolation and met another transaction is executed again."""
    attempts: list[int] = []

    def step(state: State) -> None:
        attempts.append(current_step().attempt)
        connection = current_step().connection()
        connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        ((before,),) = connection.execute("SELECT count(*) FROM payments").fetchall()
        pay(state)
        if len(attempts) == 1:
            with psycopg.connect(shop.url) as other:
                other.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                other.execute("SELECT count(*) FROM payments")
                other.execute(PAY, ("other", "step"))
        state["before"] = before

    assert runner(shop.flow(step), {}, run_id="r") == {"before": 1}
    assert attempts == [1, 2]
    assert shop.paid() == {("r", "step 0"): 1, ("other", "step"): 1}


@each_kind
def test_failed_statement_that_was_passed_over(shop: Shop, kind: str, runner: Runner) -> None:
    """The server would commit nothing of it, so that the attempt fails, and may be retried."""
    passed_over = [True]

    async def on_loop(state: State) -> None:
        await apay(state)
        connection = await current_step().connection()
        if passed_over.pop() if passed_over else False:
            with pytest.raises(psycopg.errors.DivisionByZero):
                await connection.execute("SELECT 1 / 0")

    def in_thread(state: State) -> None:
        pay(state)
        if passed_over.pop() if passed_over else False:
            with pytest.raises(psycopg.errors.DivisionByZero):
                current_step().connection().execute("SELECT 1 / 0")

    step: Any = on_loop if kind == "coroutine" else in_thread
    with pytest.raises(StepTransactionError, match="a statement has failed"):
        runner(shop.flow(step), {}, run_id="r")
    assert (shop.header().status, shop.paid()) == ("failed", {})
    passed_over.append(True)
    cp = shop.flow()
    cp.add_step(name="step 0", retry=THRICE)(step)
    runner(cp, None, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


async def test_drain_in_a_step(shop: Shop) -> None:
    """A step that is under way when the flow is drained pays, and its snapshot stops the run."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def step(state: State) -> None:
        await apay(state)
        reached.set()
        await go_on.wait()

    cp = shop.flow(step, do_nothing)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await reached.wait()
    drain = asyncio.create_task(cp.adrain())
    await asyncio.sleep(0)
    go_on.set()
    await drain
    await asyncio.wait([task])
    header = shop.header()
    assert (header.status, header.stopped_by, header.position) == ("stopped", "drain", 1)
    assert shop.paid() == {("r", "step 0"): 1}
