"""`crash_everywhere` interrupts flows that retry, keep data, have limits and pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from aiocheckpoint import CheckpointFlow, Pause, Retry
from aiocheckpoint.handlers._snapshot_run_store import SnapshotRunStore
from aiocheckpoint.handlers.leased import _requests
from aiocheckpoint.testing import crash_everywhere
from aiocheckpoint.testing._crashing import _BLOCKING_WORK, _Breaker, _Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

Way = Literal["run", "arun"]
AT_ONCE = Retry(attempts=4, wait_initial=0, wait_max=0, wait_jitter=0)
both_runners = pytest.mark.parametrize("runner", ["run", "arun"])


def noting(ends: list[State]) -> Callable[[State, State], bool]:
    """Make a comparison that accepts all final states, and notes them."""

    def same(expected: State, final: State) -> bool:
        ends.extend((expected, final))
        return True

    return same


def failing_once(path: str) -> CheckpointFlow:
    """Make a flow each of whose parts fails once in each process, after it did half its work."""
    cp = CheckpointFlow(path, fsync=False)
    failing = {"load", "add", "save"}

    def fail_once(part: str) -> None:
        if part in failing:
            failing.remove(part)
            raise ConnectionError(part)

    async def load(state: State) -> State:
        fail_once("load")
        return {"more": 2}

    async def save(state: State, data: State) -> None:
        state["saved"] = state.get("saved", 0) + 1
        fail_once("save")

    @cp.add_step(load, save, retry=AT_ONCE, timeout=600)
    async def add(state: State, data: State) -> None:
        state["n"] += data.pop("more")
        fail_once("add")

    cp.add_step(name="treble", retry=AT_ONCE)(lambda state: state.update(n=state["n"] * 3))
    return cp


@both_runners
def test_attempts(runner: Way) -> None:
    """A run interrupted between attempts, or in one of them, ends with its state changed once."""
    ends: list[State] = []

    assert crash_everywhere(failing_once, {"n": 1}, method=runner, same=noting(ends)) > 25
    assert ends == [{"n": 9, "saved": 1}] * len(ends)


@both_runners
def test_kept_data(runner: Way) -> None:
    """With `keep_data=True`, the data of the steps are stored after each interruption."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False, keep_data=True)
        cp.add_step(name="fill")(lambda state, data: data.update(rows=[1, 2]))
        cp.add_step(name="use")(lambda state, data: state.update(n=len(data["rows"])))
        return cp

    assert crash_everywhere(make_flow, {}, method=runner) > 10


def pausing(path: str) -> CheckpointFlow:
    """Make a flow two of whose steps wait for something."""
    cp = CheckpointFlow(path, fsync=False)

    @cp.add_step()
    def order(state: State) -> None:
        state["trail"] = [*state["trail"], "order"]

    @cp.add_step()
    async def approve(state: State) -> None:
        state["trail"].append("half")
        if "approved" not in state:
            raise Pause("waiting for approval")
        state["trail"][-1] = "approve"

    @cp.add_step()
    def pay(state: State) -> None:
        if "paid" not in state:
            raise Pause("waiting for payment")
        state["trail"].append(state.pop("paid"))

    return cp


@both_runners
def test_pause_without_an_update(runner: Way) -> None:
    """A run that pauses ends there: with the state on entry to the step, after each break."""
    ends: list[State] = []
    boundaries = crash_everywhere(pausing, {"trail": []}, method=runner, same=noting(ends))
    assert ends == [{"trail": ["order"]}] * 4 * boundaries


@both_runners
def test_pause_with_an_update(runner: Way) -> None:
    """With an update, runs are broken off behind their pauses too, and end as undisturbed."""
    ends: list[State] = []
    update = {"approved": True, "paid": "pay"}
    short = crash_everywhere(pausing, {"trail": []}, method=runner)
    boundaries = crash_everywhere(
        *(pausing, {"trail": []}),
        method=runner,
        same=noting(ends),
        update=update,
    )
    assert boundaries > short
    assert ends == [{"trail": ["order", "approve", "pay"], "approved": True}] * 4 * boundaries


def test_pause_that_no_update_ends() -> None:
    """A step that pauses after every update does not keep the check busy for ever."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)

        @cp.add_step()
        def wait(state: State) -> None:
            raise Pause

        return cp

    assert crash_everywhere(make_flow, {}, update={"told": 1}) > 3


def test_flow_that_loses_its_update() -> None:
    """A flow that keeps the answer to a pause outside of its state fails the check."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)
        answers: list[str] = []
        cp.add_step(name="first")(lambda state: None)

        @cp.add_step()
        def ask(state: State) -> None:
            if "answer" not in state:
                raise Pause
            answers.append(state.pop("answer"))

        cp.add_step(name="use")(lambda state: state.update(n=len(answers)))
        return cp

    with pytest.raises(AssertionError, match=r"crash .*the values of 'n' differ"):
        crash_everywhere(make_flow, {}, update={"answer": "yes"})


def test_step_named_as_blocking_work(tmp_path: Path) -> None:
    """A user's function has its own name, even if work of the library is named the same."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)

        @cp.add_step()
        def acquire(state: State) -> None:
            raise LookupError

        return cp

    seen: list[str] = []
    breaker = _Breaker(seen, None, "crash", "run")
    trial = _Trial(make_flow, None, "first only", "run", None)
    with pytest.raises(LookupError):
        trial.run(str(tmp_path), breaker)
    assert "before acquire()" in seen
    assert "before taking the lock" in seen


def test_names_of_blocking_work() -> None:
    """The functions and requests that have words for their boundaries exist."""
    for name in _BLOCKING_WORK:
        assert hasattr(SnapshotRunStore, name) or hasattr(_requests, name), name
