"""Runs that end by an exception that is no `Exception`, alone and beside others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import Pause, RunTerminatedError, Terminate

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow

PATIENCE = 30.0


class OwnEnd(BaseException):
    """An exception of a user that is no `Exception`."""


def raising(runs: Runs) -> CheckpointFlow:
    """Make a flow whose step raises the exceptions of its state in the tasks of a group."""
    cp = runs.empty_flow()
    cp.add_step(name="first")(lambda state: None)

    async def one(error: BaseException) -> None:
        raise error

    @cp.add_step()
    async def call(state: State) -> None:
        state["half"] = "changed"
        if state["kind"] == "own":
            raise OwnEnd
        async with asyncio.TaskGroup() as group:
            for error in ENDS[state["kind"]]():
                group.create_task(one(error))

    return cp


ENDS: dict[str, Callable[[], list[BaseException]]] = {
    "fine": list,
    "terminated": lambda: [Pause("wait"), Terminate("bad input"), Terminate("late")],
    "paused": lambda: [Pause("an answer"), Pause("another")],
    "failed": lambda: [Terminate("bad input"), ConnectionError("down")],
    "odd": lambda: [OwnEnd(), Pause("wait")],
}


async def test_one_run_does_not_end_a_worker(runs: Runs) -> None:
    """Each run has its result, in whatever way another one ends."""
    cp = raising(runs)
    kinds = ["own", "odd", "terminated", "paused", "failed", *(f"fine{n}" for n in range(3))]
    states = {kind: {"kind": kind.rstrip("012")} for kind in kinds}
    await cp.asubmit(states)
    async with asyncio.timeout(PATIENCE):
        results = {one.run_id: one for one in await cp.awork(until_empty=True, limit=2)}
    assert set(results) == set(kinds)
    assert {results[f"fine{n}"].status for n in range(3)} == {"finished"}
    assert isinstance(results["own"].error, OwnEnd)
    assert isinstance(results["odd"].error, BaseExceptionGroup)
    assert isinstance(results["failed"].error, BaseExceptionGroup)
    assert isinstance(results["terminated"].error, RunTerminatedError)
    assert (results["paused"].status, results["paused"].error) == ("paused", None)
    statuses = {header.run_id: header.status for header in await cp.aruns()}
    assert (statuses["own"], statuses["odd"], statuses["failed"]) == ("failed",) * 3


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_is_no_result(end: type[BaseException], runs: Runs) -> None:
    """Ctrl-C and `sys.exit` come out of the loop over the results."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def leave(state: State) -> None:
        raise end

    with pytest.raises(end):
        asyncio.run(cp.amap({"x": {}}))


async def test_a_group_of_ends_ends_its_run(runs: Runs) -> None:
    """`Terminate` wins over `Pause`, and the first one counts."""
    cp = raising(runs)
    with pytest.raises(RunTerminatedError, match="bad input") as info:
        await cp.arun({"kind": "terminated"}, run_id="x")
    assert isinstance(info.value.__cause__, Terminate)
    header = await cp.aheader("x")
    assert header is not None
    assert (header.status, header.termination, header.failure) == ("terminated", "bad input", None)
    state = await cp.arun({"kind": "paused"}, run_id="y")
    assert "half" not in state
    header = await cp.aheader("y")
    assert header is not None
    assert (header.status, header.pause) == ("paused", "an answer")


async def test_a_nested_group_ends_its_run(runs: Runs) -> None:
    """A group in a group counts as one, and one with another exception is a failure."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def call(state: State) -> None:
        inner = BaseExceptionGroup("inner", [Pause("deep"), *state["more"]])
        raise BaseExceptionGroup("outer", [inner])

    await cp.arun({"more": []}, run_id="x")
    header = await cp.aheader("x")
    assert header is not None
    assert (header.status, header.pause) == ("paused", "deep")
    with pytest.raises(BaseExceptionGroup, match="outer"):
        await cp.arun({"more": [ValueError()]}, run_id="y")
    header = await cp.aheader("y")
    assert header is not None
    assert header.status == "failed"
