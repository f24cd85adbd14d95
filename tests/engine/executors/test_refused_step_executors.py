"""Mistakes with `add_step(executor=)`, and what is said about them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps
from support import do_nothing

from aiocheckpoint import (
    CheckpointFlow,
    ExecutorError,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner


async def coroutine_step(state: dict[str, Any]) -> None:
    """Do nothing, as a coroutine."""


@pytest.fixture
def cp(tmp_path: Path) -> CheckpointFlow:
    """Give a flow without steps."""
    return CheckpointFlow(tmp_path / "run.pkl")


def test_lambda_is_refused(cp: CheckpointFlow) -> None:
    """At its registration, by the name of its step."""
    with pytest.raises(FlowDefinitionError) as caught:
        cp.add_step(name="charge", executor="process")(lambda state: None)
    assert str(caught.value).startswith("the step 'charge' cannot be sent to its executor")
    assert "<lambda> is a lambda" in str(caught.value)
    assert caught.value.step == "charge"


def test_local_loader_is_refused(cp: CheckpointFlow) -> None:
    """A loader inside a function is named together with its step."""

    def load(state: dict[str, Any]) -> dict[str, Any]:
        return {"rows": []}

    with ProcessPoolExecutor(1) as pool, pytest.raises(FlowDefinitionError) as caught:
        cp.add_step(load, name="charge", executor=pool)(sent_steps.use_rows)
    assert str(caught.value).startswith("the loader 'load' of step 'charge' cannot be sent")
    assert caught.value.step == "charge"


def test_coroutine_function_is_refused(cp: CheckpointFlow) -> None:
    """The function is named, with the remedy."""
    with pytest.raises(
        FlowDefinitionError, match=r"'coroutine_step' is a coroutine.*make it a def"
    ):
        cp.add_step(executor="process")(coroutine_step)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"thread": False}, "thread=False keeps a step on the event loop"),
        ({"limiter": asyncio.Semaphore(1)}, "limiter= is held in the process of the run"),
        ({"timeout": 1}, "timeout= cannot be kept"),
    ],
)
def test_option_that_does_not_go_with_it(
    options: dict[str, Any], reason: str, cp: CheckpointFlow
) -> None:
    """It is named, and why."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(FlowDefinitionError, match=reason):
        cp.add_step(executor=pool, **options)


def test_data_that_is_kept(tmp_path: Path) -> None:
    """A flow that stores `data` has no steps that leave it elsewhere."""
    cp = CheckpointFlow(tmp_path / "run.pkl", keep_data=True)
    with pytest.raises(FlowDefinitionError, match="keep_data=True"):
        cp.add_step(executor="process")


def test_word_with_a_typo(cp: CheckpointFlow) -> None:
    """The words and objects that are possible are named."""
    with pytest.raises(InvalidValueError, match=r"'proces' is unknown. It is 'process', an exec"):
        cp.add_step(executor="proces")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]


def test_number_of_processes(cp: CheckpointFlow) -> None:
    """A number is no executor."""
    with pytest.raises(InvalidTypeError, match=r"'process', an executor of concurrent.futures"):
        cp.add_step(executor=4)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]


def test_executor_that_is_shut_down(cp: CheckpointFlow, runner: Runner, pools: object) -> None:
    """The run fails at its step with an error of ours."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    cp.add_step(executor=pool)(do_nothing)
    with pytest.raises(ExecutorError, match=r"of step 'do_nothing'.*after shutdown"):
        runner(cp, {})


def test_class_and_partial_make_executors(cp: CheckpointFlow, pools: object) -> None:
    """Both are functions that make one, and are closed with the flow."""

    async def serve() -> None:
        async with cp:
            cp.add_step(name="class", executor=ThreadPoolExecutor)(do_nothing)
            made = partial(ProcessPoolExecutor, 1, get_context("fork"))
            cp.add_step(name="partial", executor=made)(do_nothing)
            await cp.arun({})

    asyncio.run(serve())
    assert cp.plan().executors == ("ThreadPoolExecutor()", "ProcessPoolExecutor()")
