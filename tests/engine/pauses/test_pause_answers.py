"""Pauses have numbers: an answer names its pause, waits for it, or is refused and not stored."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    Pause,
    PauseConflictError,
    RunInProgressError,
    RunNotFoundError,
)
from aiocheckpoint._engine.answering import run_answer
from aiocheckpoint._runs import core
from aiocheckpoint.events import StepPaused

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import Header
    from aiocheckpoint.events import Event

PATIENCE = 30.0


class Orders:
    """Flows of an order that waits for an approval, is paid, and then waits for an address.

    Attributes:
        paid: Who approved each payment.
        opened: Set when payments may end.
        in_pay: Set when a payment was begun.
        broken: Whether payments break.
    """

    def __init__(self, runs: Runs) -> None:
        """Begin with nothing paid."""
        self.runs = runs
        self.paid: list[str] = []
        self.opened = asyncio.Event()
        self.opened.set()
        self.in_pay = asyncio.Event()
        self.broken = False

    def flow(self, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make a flow as one of several workers has it."""
        cp = CheckpointFlow(self.runs.path, **{**self.runs.options, **options})

        @cp.add_step()
        async def approve(state: State) -> None:
            if "by" not in state:
                raise Pause("approval")

        @cp.add_step()
        async def pay(state: State) -> None:
            self.paid.append(state["by"])
            self.in_pay.set()
            await self.opened.wait()
            if self.broken:
                raise ConnectionError("broken on purpose")

        @cp.add_step()
        async def deliver(state: State) -> None:
            if "address" not in state:
                raise Pause("address")

        return cp


@pytest.fixture
def orders(runs: Runs) -> Orders:
    """Give flows on each kind of store."""
    return Orders(runs)


def pause(cp: CheckpointFlow) -> tuple[str, int]:
    """Give status and number of the pause, as lists and headers say them."""
    header = cp.header("x")
    assert header is not None
    (listed,) = cp.runs()
    assert (listed.status, listed.pause_number) == (header.status, header.pause_number)
    return header.status, header.pause_number


async def approval(cp: CheckpointFlow, by: str, **options: Any) -> State | Exception:  # noqa: ANN401
    """Approve, and give the state or the error."""
    try:
        return await cp.aresume("x", {"by": by}, **options)
    except Exception as error:  # noqa: BLE001
        return error


def test_numbers(orders: Orders, runner: Runner) -> None:
    """Pauses are counted, also over the runs of one id, in header, list, event and result."""
    seen: list[Event] = []
    cp = orders.flow(hooks=[seen.append])
    numbers = []
    for _ in range(2):
        runner(cp, {}, run_id="x", checkpoint=0)
        numbers.append(pause(cp))
        runner(cp, run_id="x", update={"by": "Ann"}, answers=numbers[-1][1])
        numbers.append(pause(cp))
        runner(cp, run_id="x", update={"address": "Elm St"}, answers=numbers[-1][1])
        assert pause(cp) == ("finished", numbers[-1][1])
    assert numbers == [("paused", number) for number in (1, 2, 3, 4)]
    assert [one.pause_number for one in seen if isinstance(one, StepPaused)] == [1, 2, 3, 4]


async def test_number_in_a_result(orders: Orders) -> None:
    """The result of a paused run has the number of its pause."""
    (result,) = await orders.flow().amap({"x": {}})
    assert (result.status, result.pause_number) == ("paused", 1)
    (result,) = await orders.flow().amap({"y": {"by": "Ann", "address": "Elm St"}})
    assert (result.status, result.pause_number) == ("finished", 0)


def look_together(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let so many answers see the pause that the run waits in before any of them is stored."""
    all_have_looked = asyncio.Barrier(number)

    async def run_together(make: Any, *, read: Any, **rest: Any) -> Any:  # noqa: ANN401
        has_looked = False

        async def read_together() -> Header | None:
            nonlocal has_looked
            header: Header | None = await read()
            if not has_looked:
                has_looked = True
                await all_have_looked.wait()
            return header

        return await run_answer(make, read=read_together, **rest)

    patch.setattr(core, "run_answer", run_together)


@pytest.mark.parametrize("named", [True, False])
async def test_three_answers_at_once(
    orders: Orders, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """One is taken, the others are refused, and none answers the later pause."""
    look_together(monkeypatch, 3)
    flows = [orders.flow() for _ in range(3)]
    await flows[0].arun({}, run_id="x")
    answers = {"answers": 1} if named else {}
    ends = await asyncio.gather(
        approval(flows[0], "Ann", **answers),
        approval(flows[1], "Bob", **answers),
        approval(flows[2], "Mail", wait=PATIENCE, **answers),
    )
    taken = [one for one in ends if isinstance(one, dict)]
    refused = [one for one in ends if isinstance(one, PauseConflictError)]
    assert (len(taken), len(refused)) == (1, 2)
    assert orders.paid == [taken[0]["by"]]
    assert {(one.answers, one.early) for one in refused} == {(1, False)}
    assert pause(flows[0]) == ("paused", 2)
    assert flows[0].read("x")["by"] == orders.paid[0]


async def test_late_answers(orders: Orders) -> None:
    """An answer is refused during the rest of the run, in a later pause, and after the end."""
    cp = orders.flow()
    await cp.arun({}, run_id="x")
    orders.opened.clear()
    task = asyncio.create_task(cp.aresume("x", {"by": "Ann"}, 1))
    await orders.in_pay.wait()
    began = time.monotonic()
    for wait in (0.0, PATIENCE):
        late = await approval(orders.flow(), "Bob", answers=1, wait=wait)
        assert isinstance(late, PauseConflictError)
        assert (late.answers, late.pause_number, late.early) == (1, None, False)
        assert "pause 1 " in str(late)
        assert "is over" in str(late)
    assert time.monotonic() - began < PATIENCE
    orders.opened.set()
    await task
    late = await approval(cp, "Bob", answers=1)
    assert isinstance(late, PauseConflictError)
    assert (late.pause_number, late.early) == (2, False)
    await cp.aresume("x", {"address": "Elm St"}, 2)
    for answers in (1, 2, 3, None):
        late = await approval(cp, "Bob", answers=answers, wait=PATIENCE)
        assert isinstance(late, PauseConflictError)
        assert (late.pause_number, late.early) == (None, False)
    assert cp.read("x")["by"] == "Ann"


async def test_early_answer_waits(orders: Orders) -> None:
    """An answer waits for the pause: before the run begins, in it, and in an earlier pause."""
    cp = orders.flow()
    early = asyncio.create_task(orders.flow().aresume("x", {"by": "Ann"}, 1, wait=PATIENCE))
    second = asyncio.create_task(
        orders.flow().arun(run_id="x", update={"address": "Elm St"}, answers=2, wait=PATIENCE)
    )
    await asyncio.sleep(0.1)
    assert (await cp.arun({}, run_id="x")) == {}
    assert (await second) == {"by": "Ann", "address": "Elm St"}
    assert (await early) == {"by": "Ann"}


async def test_early_answer_without_its_pause(orders: Orders) -> None:
    """It is refused when its time is over, and at once where the run has broken or ended."""
    cp = orders.flow()
    with pytest.raises(RunNotFoundError):
        await cp.aresume("x", {"by": "Ann"}, 1, wait=0.1)
    with pytest.raises(PauseConflictError) as info:
        await cp.arun(run_id="x", update={"by": "Ann"})
    assert info.value.early
    await cp.arun({}, run_id="x")
    early = await approval(cp, "Ann", answers=2, wait=0.1)
    assert isinstance(early, PauseConflictError)
    assert (early.answers, early.pause_number, early.early) == (2, 1, True)
    orders.opened.clear()
    task = asyncio.create_task(cp.aresume("x", {"by": "Ann"}))
    await orders.in_pay.wait()
    assert isinstance(await approval(orders.flow(), "Bob", answers=2), RunInProgressError)
    assert isinstance(await approval(orders.flow(), "Bob"), RunInProgressError)
    waiting = asyncio.create_task(approval(orders.flow(), "Bob", answers=2, wait=PATIENCE))
    orders.broken = True
    orders.opened.set()
    with pytest.raises(ConnectionError):
        await task
    broken = await waiting
    assert isinstance(broken, PauseConflictError)
    assert "'failed'" in str(broken)


def test_answer_without_values(orders: Orders, runner: Runner) -> None:
    """An answer may only name the pause: the step runs again."""
    cp = orders.flow()
    runner(cp, {}, run_id="x")
    assert runner(cp, run_id="x", answers=1) == {}
    assert pause(cp) == ("paused", 2)
    with pytest.raises(PauseConflictError):
        runner(cp, run_id="x", answers=1)
    assert pause(cp) == ("paused", 2)


async def test_steps_own_errors(orders: Orders) -> None:
    """An error of the same kind that a step raises ends the run. It is not tried again."""
    cp = orders.flow()
    calls: list[int] = []

    @cp.add_step(after="approve")
    async def other(_state: State) -> None:
        calls.append(1)
        await orders.flow().aresume("x", answers=2)

    await cp.arun({}, run_id="x")
    with pytest.raises(RunInProgressError):
        await cp.aresume("x", {"by": "Ann"}, 1, wait=1.0)
    assert calls == [1]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"answers": "1"}, InvalidTypeError),
        ({"answers": True}, InvalidTypeError),
        ({"answers": -1}, InvalidValueError),
        ({"answers": 1, "state": {}}, InvalidValueError),
        ({"answers": 1, "checkpoint": 0}, InvalidValueError),
    ],
    ids=str,
)
def test_bad_input(options: State, kind: type[Exception], orders: Orders, runner: Runner) -> None:
    """A number that is none, and one beside a state, are refused at once."""
    with pytest.raises(kind, match="answers="):
        runner(orders.flow(), run_id="x", **options)


def test_events_of_an_answer(orders: Orders) -> None:
    """A stream of events takes an answer as well."""
    cp = orders.flow()
    cp.run({}, run_id="x")

    async def streamed() -> list[str]:
        stream = cp.astream(run_id="x", update={"by": "Ann"}, answers=1)
        return [type(event).__name__ async for event in stream]

    assert asyncio.run(streamed())[-2:] == ["StepPaused", "RunFinished"]
    with pytest.raises(PauseConflictError):
        asyncio.run(streamed())


def test_an_answer_to_nothing_names_the_list_of_runs(runner: Runner, runs: Runs) -> None:
    """A mistyped id is found in the list, and `header` of it would say nothing."""
    cp = runs.flow()
    with pytest.raises(PauseConflictError, match=r"Is the run_id right\? runs\(\) lists") as info:
        runner(cp, run_id="mistyped", update={"n": 1})
    assert "header()" not in str(info.value)
