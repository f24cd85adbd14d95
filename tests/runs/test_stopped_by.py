"""What stopped a run is in its header: a drain, `until=`, or a hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, DrainingError
from aiocheckpoint._snapshot.header_json import encode_header

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner


def stopped_by(cp: CheckpointFlow) -> tuple[str, str | None]:
    """Give status and `stopped_by` of the run "x", as a list and the run itself say them."""
    header = cp.handler.header("x")
    assert [(one.status, one.stopped_by) for one in cp.runs()] == [
        (header.status, header.stopped_by)
    ]
    assert ("stopped_by" in json.loads(encode_header(header))) == (header.stopped_by is not None)
    return header.status, header.stopped_by


def test_until(runs: Runs, runner: Runner) -> None:
    """A run that stops behind a step by request says so, until it goes on."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x", until="a")
    assert stopped_by(cp) == ("stopped", "until")
    runs.faults["step b"] = ValueError("it is broken")
    with pytest.raises(ValueError, match="broken"):
        runner(cp, run_id="x")
    assert stopped_by(cp) == ("failed", None)
    runs.faults.clear()
    runner(cp, run_id="x")
    assert stopped_by(cp) == ("finished", None)


@pytest.mark.parametrize("is_last", [False, True])
async def test_drain(runs: Runs, *, is_last: bool) -> None:
    """A drained run says so. One that would have stopped there anyway was stopped by `until=`."""
    cp = runs.flow()
    drains: list[asyncio.Task[object]] = []

    @cp.add_step(after="a")
    async def draining(_state: object) -> None:
        drains.append(asyncio.create_task(cp.adrain()))
        await asyncio.sleep(0)

    if is_last:
        await cp.arun({"n": 1}, run_id="x", until="draining")
    else:
        with pytest.raises(DrainingError):
            await cp.arun({"n": 1}, run_id="x")
    await drains[0]
    assert stopped_by(cp) == ("stopped", "until" if is_last else "drain")


def test_hand(runs: Runs, runner: Runner) -> None:
    """A patch, or a state written to a step, stops the run. A patch of a finished run does not."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x", until="a")
    runner.do(cp, "patch", {"n": 2}, run_id="x")
    assert stopped_by(cp) == ("stopped", "patch")
    cp.handler.write({"n": 3, "checkpoint_index": 2}, "x")
    assert stopped_by(cp) == ("stopped", "patch")
    runner(cp, run_id="x")
    runner.do(cp, "patch", {"n": 4}, run_id="x")
    assert stopped_by(cp) == ("finished", None)
    runner.do(cp, "patch", {"n": 4}, "b", run_id="x")
    assert stopped_by(cp) == ("stopped", "patch")
