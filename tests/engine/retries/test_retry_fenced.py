"""An owner that lost its run to another process does not try the step again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from flaky_steps import AT_ONCE
from interrupts import PATIENCE
from simulated_processes import handler_apart, shut_down, suspend
from support import notes_of

from aiocheckpoint import CheckpointFlow, Retry

if TYPE_CHECKING:
    from pathlib import Path

    from support import State


class Successor:
    """Another process that takes over a run and is held in its step.

    Attributes:
        free: Lets the step come to its end.
        result: The final state.
    """

    def __init__(self, path: Path) -> None:
        """Take over nothing yet."""
        self.handler = handler_apart(path, fsync=False)
        self.free = threading.Event()
        self.result: State = {}
        self._entered = threading.Event()
        self._cp = CheckpointFlow(path, handler=self.handler, name=self.handler.flow)
        self._cp.add_step(name="step")(self._step)
        self._thread = threading.Thread(target=self._run)

    def _step(self, state: State) -> None:
        self._entered.set()
        assert self.free.wait(PATIENCE)
        state["by"] = "the other"

    def _run(self) -> None:
        self.result = self._cp.run(run_id="x", wait=PATIENCE)

    def take_over(self) -> None:
        """Begin, and wait until it is in the step."""
        self._thread.start()
        assert self._entered.wait(PATIENCE)

    def end(self) -> None:
        """Let it come to its end."""
        self.free.set()
        self._thread.join(PATIENCE)
        shut_down(self.handler)


def test_no_attempt_beside_the_successor(tmp_path: Path) -> None:
    """While another process is in the step, the one that slept past its lease keeps out of it."""
    path, calls = tmp_path / "runs.db", list[int]()
    handler = handler_apart(path, fsync=False)
    cp = CheckpointFlow(path, handler=handler, name=handler.flow)
    other = Successor(path)

    @cp.add_step(name="step", retry=Retry(attempts=3, **AT_ONCE))
    def step(state: State) -> None:
        calls.append(1)
        if len(calls) == 1:
            suspend(handler)
            other.take_over()
        raise ConnectionError

    try:
        with pytest.raises(ConnectionError) as info:
            cp.run({"n": 1}, run_id="x")
    finally:
        other.end()
    assert calls == [1]
    assert "LeaseLostError" in notes_of(info.value)
    assert other.result == {"n": 1, "by": "the other"}
    shut_down(handler)
