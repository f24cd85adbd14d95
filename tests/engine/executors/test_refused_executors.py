"""Executors, options and functions that `add_step(executor=)` refuses, and those that it takes."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
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
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from support import Runner, State


@pytest.fixture(scope="session", params=["process", "spawn", "fork", "class", "partial"])
def by_name(request: pytest.FixtureRequest, pools: Any) -> Any:  # noqa: ANN401
    """Give each executor that pickles functions by their names."""
    kind = request.param
    if kind == "process":
        return kind
    made = {"class": ProcessPoolExecutor, "partial": partial(ProcessPoolExecutor, 2)}
    return made[kind] if kind in made else pools.of(kind)


@pytest.fixture(scope="session")
def threads(pools: Any) -> Executor:  # noqa: ANN401
    """Give a pool of threads, which has begun."""
    made: Executor = pools.of("thread")
    return made


def local_step() -> Callable[[State], None]:
    """Give a function that no other process finds."""

    def inside(state: State) -> None:
        """Do nothing."""

    return inside


async def coroutine(_: State) -> dict[str, Any]:
    """Do nothing, as a coroutine."""
    return {}


def with_lock(state: State, *, lock: object) -> None:
    """Do nothing with something that cannot be pickled."""


class Holder:
    """Holds something that cannot be pickled, and has a method for a step."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def step(self, state: State) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda state: None, "<lambda> is a lambda"),
        (local_step(), "inside is defined inside a function"),
        (partial(with_lock, lock=threading.Lock()), "TypeError"),
        (partial(lambda state, n: None, n=1), "<lambda> is a lambda"),
        (Holder().step, "TypeError"),
    ],
    ids=["lambda", "local", "held lock", "partial", "method"],
)
def test_function_without_a_name_there(
    by_name: Any,  # noqa: ANN401
    function: Any,  # noqa: ANN401
    reason: str,
    tmp_path: Path,
) -> None:
    """It is refused at registration, and the flow stays as it was."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step()(do_nothing)
    with pytest.raises(FlowDefinitionError, match=r"the step '.*' cannot be sent") as caught:
        cp.add_step(name="work", executor=by_name)(function)
    assert reason in str(caught.value)
    assert "top level of a module" in str(caught.value)
    assert cp.plan().steps == ("do_nothing",)


@pytest.mark.parametrize("noun", ["loader", "saver"])
def test_loader_or_saver_without_a_name(noun: str, tmp_path: Path) -> None:
    """The error names which of the functions it is."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    load = local_step() if noun == "loader" else None
    save = local_step() if noun == "saver" else None
    words = f"the {noun} 'inside' of step 'charge' cannot be sent"
    with pytest.raises(FlowDefinitionError, match=words):
        cp.add_step(load, save, executor="process")(sent_steps.charge)  # type: ignore[call-overload]


@pytest.mark.parametrize("give", ["executor", "function"])
def test_threads_take_any_function(give: str, runner: Runner, tmp_path: Path) -> None:
    """A pool of threads pickles no function."""
    with ThreadPoolExecutor(1) as pool:
        cp = CheckpointFlow(tmp_path / "run.pkl")
        executor = pool if give == "executor" else lambda: pool
        cp.add_step(name="work", executor=executor)(lambda state: state.update(done=True))
        assert runner(cp, {}) == {"done": True}


@pytest.mark.parametrize("executor", ["processes", "", "thread"])
def test_unknown_word(executor: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """One word alone is known."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    with pytest.raises(InvalidValueError, match="It is 'process'"):
        cp.add_step(executor=executor)


@pytest.mark.parametrize("executor", [3, True, ["process"], b"process"], ids=repr)
def test_no_executor(executor: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """What neither is an executor nor makes one is refused by its type."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    with pytest.raises(InvalidTypeError, match=f"not a {type(executor).__name__}"):
        cp.add_step(executor=executor)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"thread": False}, "thread=False"),
        ({"limiter": anyio.CapacityLimiter(1)}, "limiter="),
        ({"timeout": 1.0}, "timeout="),
    ],
    ids=["thread", "limiter", "timeout"],
)
def test_option_that_does_nothing_there(
    options: dict[str, Any],
    problem: str,
    threads: Executor,
    tmp_path: Path,
) -> None:
    """It is refused where it is given."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    with pytest.raises(FlowDefinitionError, match=problem):
        cp.add_step(executor=threads, **options)
    if "timeout" not in options:
        with pytest.raises(FlowDefinitionError, match=problem):
            cp.add_step(executor="process", **options)


def test_data_that_is_stored(tmp_path: Path) -> None:
    """A flow that stores `data` sends no step."""
    cp = CheckpointFlow(tmp_path / "run.pkl", keep_data=True)
    with pytest.raises(FlowDefinitionError, match="keep_data=True"):
        cp.add_step(executor="process")


@pytest.mark.parametrize("noun", ["loader", "step", "saver"])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_coroutine_function(
    noun: str,
    kind: str,
    threads: Executor,
    tmp_path: Path,
) -> None:
    """An executor calls sync functions alone, and the error names the other one."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    executor: Any = kind if kind == "process" else threads
    parts: dict[str, Any] = {"loader": None, "step": sent_steps.charge, "saver": None}
    parts[noun] = coroutine
    with pytest.raises(FlowDefinitionError, match=f"its {noun} 'coroutine' is a coroutine"):
        cp.add_step(parts["loader"], parts["saver"], executor=executor)(parts["step"])


class NoFutures:
    """Calls at once, and gives what came out."""

    def submit(self, function: Callable[..., object], *arguments: object) -> object:
        """Call a function."""
        return function(*arguments)


def shut_down() -> ThreadPoolExecutor:
    """Give an executor that takes no calls any more."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    return pool


@pytest.mark.parametrize(
    ("executor", "problem"),
    [
        (NoFutures(), "no future of concurrent.futures"),
        (lambda: 3, "returned a int"),
        (shut_down(), "cannot schedule new futures"),
        (shut_down, "cannot schedule new futures"),
    ],
    ids=["no futures", "no executor", "shut down", "made shut down"],
)
def test_executor_that_does_not_execute(
    executor: Any,  # noqa: ANN401
    problem: str,
    runner: Runner,
    tmp_path: Path,
) -> None:
    """The run fails with an error of ours, and can go on with another executor."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(name="work", executor=executor)(sent_steps.charge)
    with pytest.raises(ExecutorError, match=problem) as caught:
        runner(cp, {"n": 1})
    assert caught.value.step == "work"
    assert cp.handler.header().status == "failed"
    mended = CheckpointFlow(tmp_path / "run.pkl")
    mended.add_step(name="work")(sent_steps.charge)
    assert runner(mended)["n"] == 1
