"""No log line and no error holds a value of a state, of an update, or of a pause's reason."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from support import notes_of

from aiocheckpoint import CheckpointError, CheckpointFlow, DrainingError, Pause, Retry
from aiocheckpoint.events import RunStarted

if TYPE_CHECKING:
    from support import FlowFactory, Runner, State

LOGGER = "aiocheckpoint"
CANARY = "canary-4f1d"
AT_ONCE = Retry(attempts=2, wait_initial=0, wait_max=0, wait_jitter=0)


class RevealingError(ConnectionError):
    """An exception that quotes a value of the state."""

    def __str__(self) -> str:
        """Quote the value."""
        return CANARY


def said(caplog: pytest.LogCaptureFixture, *errors: BaseException) -> str:
    """Give all log records, formatted and not, and the texts of the library's errors."""
    records = [record for record in caplog.records if record.name == LOGGER]
    assert records
    lines = [f"{record.getMessage()} {vars(record)}" for record in records]
    for error in errors:
        ours = isinstance(error, CheckpointError)
        lines.append(f"{error} {error!r} {vars(error)}" if ours else notes_of(error))
    return "\n".join(lines)


def waiting(flows: FlowFactory) -> CheckpointFlow:
    """Make a flow that fails once, and then pauses until the state is updated."""
    cp = CheckpointFlow(flows.path, fsync=False, hooks=[flows.events.append])
    failing = [True]

    @cp.add_step(retry=AT_ONCE)
    def wait(state: State) -> None:
        if failing:
            failing.clear()
            raise RevealingError
        if "told" not in state:
            raise Pause(f"waits for {CANARY}")

    return cp


def test_reasons_and_updates(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a pause's reason, nor an update, nor the error of an attempt is logged."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = waiting(flows)
    any_runner(cp, {"secret": CANARY})
    assert flows.header().pause == f"waits for {CANARY}"
    any_runner(cp, update={"told": CANARY})
    text = said(caplog)
    assert CANARY not in text
    for words in ("attempt 1", "RevealingError", "StepPaused", "paused", "finished"):
        assert words in text


@pytest.mark.parametrize("kind", ["not paused", "no dict", "with a state"])
def test_updates_that_are_refused(
    kind: str, any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about a refused update does not quote it, or the state."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = waiting(flows)
    any_runner(cp, {"secret": CANARY})
    options: dict[str, Any] = {"update": {"told": CANARY}}
    if kind == "not paused":
        any_runner(cp, update={"told": CANARY})
    elif kind == "no dict":
        options = {"update": [CANARY]}
    else:
        options |= {"state": {"secret": CANARY}}
    with pytest.raises(CheckpointError) as info:
        any_runner(cp, **options)
    assert CANARY not in said(caplog, info.value)


def test_failed_attempts(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of the last attempt is logged by its type, and its note quotes nothing."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = CheckpointFlow(flows.path, fsync=False)

    @cp.add_step(retry=AT_ONCE)
    def fail(state: State) -> None:
        raise RevealingError

    with pytest.raises(RevealingError) as info:
        any_runner(cp, {"secret": CANARY})
    text = said(caplog, info.value)
    assert "attempt 1" in text
    assert "aiocheckpoint: step 1 of 1" in text
    assert CANARY not in text


async def test_drains_and_limits(flows: FlowFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A drain or a time limit is logged without values of the run."""
    caplog.set_level(logging.DEBUG, LOGGER)

    async def drain(event: object) -> None:
        if isinstance(event, RunStarted):
            drains.append(asyncio.create_task(cp.adrain()))
            await asyncio.sleep(0)

    drains: list[asyncio.Task[list[str | None]]] = []
    cp = CheckpointFlow(flows.path, fsync=False, hooks=[drain])
    cp.add_step(name="a")(lambda state: None)
    with pytest.raises(DrainingError) as drained:
        await cp.arun({"secret": CANARY}, run_id=None)
    assert await drains[0] == []
    late = CheckpointFlow(flows.path, fsync=False)
    late.add_step(name="a")(lambda state: None)

    @late.add_step(timeout=0.01)
    async def b(state: State) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as timed_out:
        await late.arun()
    assert CANARY not in said(caplog, drained.value, timed_out.value)


@pytest.mark.parametrize("pair", [CANARY, (CANARY, CANARY), ({"secret": CANARY},), (1, {CANARY})])
async def test_pairs_that_are_none(
    pair: Any,  # noqa: ANN401
    flows: FlowFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error about an item that `amap` cannot take names its type alone."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = waiting(flows)
    await cp.arun()
    with pytest.raises(CheckpointError) as info:
        await cp.amap([pair])
    assert CANARY not in said(caplog, info.value)
