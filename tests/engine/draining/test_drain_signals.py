"""Draining from the handler of a signal that strikes in the middle of a step."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, DrainingError

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Future
    from pathlib import Path

    from support import State

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1")
Drains = list["Future[list[str | None]]"]


@pytest.fixture
def cp(tmp_path: Path) -> CheckpointFlow:
    """Give a flow that has no steps yet."""
    return CheckpointFlow(tmp_path / "checkpoint.pkl", fsync=False)


@pytest.fixture
def drains(cp: CheckpointFlow) -> Generator[Drains]:
    """Let SIGUSR1 drain the flow, as a server's handler does; give what came of it."""
    found: Drains = []

    def drain(*_: object) -> None:
        loop = asyncio.get_running_loop()
        found.append(asyncio.run_coroutine_threadsafe(cp.adrain(), loop))

    before = signal.signal(signal.SIGUSR1, drain)
    yield found
    signal.signal(signal.SIGUSR1, before)


async def test_signal_in_a_step(cp: CheckpointFlow, drains: Drains) -> None:
    """It drains like any other: the step comes to its end, and the run is stopped behind it."""

    @cp.add_step()
    async def interrupted(state: State) -> None:
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0)
        state["struck"] = True

    cp.add_step(name="after")(lambda state: None)
    with pytest.raises(DrainingError, match="stopped on its way"):
        await cp.arun({})
    assert await asyncio.wrap_future(drains[0]) == []
    header = await cp.aheader()
    assert header is not None
    assert (header.status, header.position) == ("stopped", 1)


def test_draining_by_a_thread_of_a_step(cp: CheckpointFlow) -> None:
    """A step that waits for it on a loop in its thread is refused all the same."""

    @cp.add_step()
    def drains(state: State) -> None:
        asyncio.run(cp.adrain())

    with pytest.raises(DrainingError, match="in its own step 'drains' would wait for itself"):
        asyncio.run(cp.arun({}))
