"""A program that ignores Ctrl-C, or handles it itself, goes on doing so while it runs a flow."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX only")

HANDLERS: dict[str, Any] = {"ignored": signal.SIG_IGN, "handled": lambda number, frame: None}


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Set a handler of SIGINT that is not Python's own, as the program's start would."""
    chosen = HANDLERS[request.param]
    before = signal.signal(signal.SIGINT, chosen)
    yield chosen
    signal.signal(signal.SIGINT, before)


def run_in_notebook(cp: CheckpointFlow) -> None:
    """Call `run` where a loop is running, which does not handle Ctrl-C itself."""

    async def cell() -> None:
        cp.run({})

    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(cell())


WAYS: dict[str, Callable[[CheckpointFlow], object]] = {
    "run": lambda cp: cp.run({}),
    "arun": lambda cp: asyncio.run(cp.arun({})),
    "notebook": run_in_notebook,
}


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_does_not_end_the_run(handler: object, way: str, tmp_path: Path) -> None:
    """No step is interrupted, and the program's handler is in place in each and afterwards."""
    found: list[object] = []
    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)

    def press() -> None:
        found.append(signal.getsignal(signal.SIGINT))
        os.kill(os.getpid(), signal.SIGINT)

    @cp.add_step()
    def in_a_function(state: dict[str, Any]) -> None:
        press()

    @cp.add_step()
    async def in_a_coroutine(state: dict[str, Any]) -> None:
        press()
        await asyncio.sleep(0.01)
        state["done"] = True

    WAYS[way](cp)
    assert found == [handler, handler]
    assert signal.getsignal(signal.SIGINT) is handler
    header = cp.header()
    assert header is not None
    assert header.status == "finished"
    assert cp.read()["done"] is True
