"""Ctrl-C while `run` is in progress."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from ctrl_c_lines import check_ctrl_c_on_lines
from interrupts import PATIENCE
from support import add_with

from aiocheckpoint import CheckpointFlow, Retry
from aiocheckpoint.events import AttemptFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory, State


def test_ctrl_c_at_some_lines_of_run(tmp_path: Path) -> None:
    """Ctrl-C at a line is raised, leaves nothing locked, and the next run resumes.

    At every line, with one Python: test_ctrl_c_every_line.py.
    """
    check_ctrl_c_on_lines("threads", 7, tmp_path)


def interrupted_flow(flows: FlowFactory, part: str, *, asynchronous: bool) -> CheckpointFlow:
    """Make a flow in which Ctrl-C strikes while a part of step b is running."""

    def press(state: State) -> State:
        state["half"] = True
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # outside the main thread, the main thread gets the signal
        return {}

    async def apress(state: State) -> State:
        state["half"] = True
        await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(PATIENCE)
        return {}

    cp = flows.flow("a")
    add_with(cp, "b", part, apress if asynchronous else press)
    flows.add(cp, "c")
    return cp


def run_in_notebook(cp: CheckpointFlow) -> None:
    """Call `run` inside a running loop that does not handle Ctrl-C itself, as in a notebook."""

    async def cell() -> None:
        cp.run(None, "always")

    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(cell())


WAYS: dict[str, Callable[[CheckpointFlow], object]] = {
    "run": lambda cp: cp.run(None, "always"),
    "arun": lambda cp: asyncio.run(cp.arun(None, "always")),
    "notebook": run_in_notebook,
}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("part", ["load", "step", "save"])
@pytest.mark.parametrize("way", WAYS)
def test_signal_in_a_part(way: str, part: str, flows: FlowFactory, *, asynchronous: bool) -> None:
    """A real Ctrl-C in any part is raised and recorded as a cancellation, and the run resumes.

    Under `asyncio.run` the cancellation waits for a sync step, which is then done.
    """
    done = way == "arun" and not asynchronous and part != "load"
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](interrupted_flow(flows, part, asynchronous=asynchronous))
    header = flows.header()
    assert (header.status, header.position) == ("cancelled", 1 + done)
    assert header.failure is not None
    assert (header.failure.step, header.failure.part) == ("b", "snapshot" if done else part)
    assert ("half" in flows.stored()) == done
    flows.log.clear()
    flows.flow("a", "b", "c").run()
    assert flows.ran() == (["c"] if done else ["b", "c"])


def interrupted_between_attempts(flows: FlowFactory, *, asynchronous: bool) -> CheckpointFlow:
    """Make a flow in which Ctrl-C strikes while step b waits for its second attempt."""
    main = threading.main_thread().ident
    assert main is not None

    def press(event: object) -> None:
        if isinstance(event, AttemptFailed):
            threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()

    def fail(state: State) -> None:
        state["half"] = True
        raise ConnectionError

    async def afail(state: State) -> None:
        fail(state)

    cp = CheckpointFlow(flows.path, fsync=False, hooks=[press])
    flows.add(cp, "a")
    long = Retry(wait_initial=PATIENCE, wait_max=PATIENCE, wait_jitter=0, timeout=None)
    cp.add_step(name="b", retry=long)(afail if asynchronous else fail)
    flows.add(cp, "c")
    return cp


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
def test_signal_between_attempts(way: str, flows: FlowFactory, *, asynchronous: bool) -> None:
    """Ctrl-C during the wait for the next attempt is raised at once, and the run resumes."""
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](interrupted_between_attempts(flows, asynchronous=asynchronous))
    header = flows.header()
    assert (header.status, header.position) == ("cancelled", 1)
    assert header.failure is not None
    assert (header.failure.step, header.failure.attempt) == ("b", 1)
    assert "half" not in flows.stored()
    flows.log.clear()
    assert flows.flow("a", "b", "c").run()["trail"] == ["a", "b", "c"]
    assert flows.ran() == ["b", "c"]
    assert flows.header().attempts == {"b": 2}
