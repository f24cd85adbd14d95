"""`current_step().connection()` where there is none: an error with the remedy, at the call."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from support import do_nothing

from aiocheckpoint import CurrentStep, NotTransactionalError, OutsideStepError, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from flaky_steps import AnyStore
    from support import Runner, State


async def ask_and_await(state: State) -> None:
    """Ask as a coroutine does."""
    await current_step().connection()


def ask(state: State) -> None:
    """Ask as a sync function does."""
    current_step().connection()


@pytest.mark.parametrize("step", [ask_and_await, ask])
@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_other_stores(
    any_store: AnyStore, any_runner: Runner, part: str, step: Callable[[State], object]
) -> None:
    """Each part of a step is told that its store has no transactions, and the state stays."""
    cp = any_store.empty_flow()
    parts: dict[str, Any] = {} if part == "step" else {part: step}
    cp.add_step(name="pay", **parts)(step if part == "step" else do_nothing)
    with pytest.raises(NotTransactionalError, match=r"'pay'.*postgresql://") as info:
        any_store.go(any_runner, cp, {"a": 1}, "always")
    assert info.value.step == "pay"
    assert info.value.path in str(info.value)
    assert any_store.stored() == {"a": 1, "checkpoint_index": 0}


def test_outside_of_the_parts(file_store: AnyStore, runner: Runner) -> None:
    """A hook, a limiter and a manager of `around=` are no part of the step."""
    seen: list[str] = []

    def try_to_ask(*_: object) -> None:
        try:
            current_step().connection()
        except OutsideStepError as error:
            seen.append(str(error))

    cp = file_store.empty_flow(around=[try_to_ask], hooks=[try_to_ask])
    cp.add_step()(do_nothing)
    file_store.go(runner, cp, {})
    assert seen
    within = [one for one in seen if "neither its loader" in one]
    assert len(within) >= 2


def test_copies_and_late_callers(file_store: AnyStore, runner: Runner) -> None:
    """A pickled copy has no connection, and neither has a step that has ended."""
    kept: list[CurrentStep] = []

    def step(state: State) -> None:
        kept.append(current_step())
        kept.append(pickle.loads(pickle.dumps(current_step())))
        with pytest.raises(OutsideStepError):
            kept[1].connection()

    cp = file_store.empty_flow()
    cp.add_step()(step)
    file_store.go(runner, cp, {})
    for one in kept:
        with pytest.raises(OutsideStepError, match="has ended"):
            one.connection()


async def test_task_that_outlives_its_step(file_store: AnyStore) -> None:
    """A task that a step has left behind gets no connection of a later step."""
    tasks: list[asyncio.Task[None]] = []
    gone = asyncio.Event()

    async def ask_late() -> None:
        step = current_step()
        await gone.wait()
        await step.connection()

    async def first(state: State) -> None:
        tasks.append(asyncio.create_task(ask_late()))
        await asyncio.sleep(0)

    async def second(state: State) -> None:
        gone.set()
        await asyncio.wait(tasks)

    cp = file_store.empty_flow()
    for step in (first, second):
        cp.add_step()(step)
    await cp.arun({})
    assert isinstance(tasks[0].exception(), OutsideStepError)
