"""The trace of an execution: set at its start, stored with its snapshots, read by the next one."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, Header, InvalidTypeError, InvalidValueError, Pause
from aiocheckpoint._snapshot.header_json import decode_header, encode_header
from aiocheckpoint.events import RunStarted, SnapshotWritten

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from run_factories import Runs
    from support import FlowFactory, Runner, State

    from aiocheckpoint.events import Event

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traces:
    """Gives the executions of a run the traces that it has, one after the other."""

    def __init__(self, *traces: str | None) -> None:
        self.left = list(traces)
        self.last: list[tuple[str | None, bool]] = []

    @contextmanager
    def __call__(self, part: str, event: Event) -> Generator[None, None, None]:
        """Note the trace of the last execution, and set this one's."""
        if isinstance(event, RunStarted):
            self.last.append((event.trace, event.plan.fresh))
            trace = self.left.pop(0)
            if trace is not None:
                event.set_trace(trace)
        yield


def test_each_execution_reads_the_trace_of_the_last(runner: Runner, runs: Runs) -> None:
    """A failed run, its resume, and the fresh run behind it are linked, in every store."""
    traces = Traces("t1", "t2", None, "t4")
    cp = runs.flow("a", "b", around=[traces])
    runs.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        runner(cp, run_id="r")
    stored = []
    for _ in range(3):
        header = cp.header("r")
        assert header is not None
        stored.append(header.trace)
        runs.faults.clear()
        runner(cp, run_id="r")
    assert stored == ["t1", "t2", None]
    assert traces.last == [(None, True), ("t1", False), ("t2", True), (None, True)]


def fails(state: State) -> None:
    """Fail."""
    raise OSError


def pauses(state: State) -> None:
    """Pause."""
    raise Pause("waiting")


async def is_cancelled(state: State) -> None:
    """Be cancelled."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("step", [fails, pauses, is_cancelled])
def test_resumed_execution_that_stores_no_snapshot_stores_its_trace(
    step: Callable[[State], Any], runner: Runner, runs: Runs
) -> None:
    """The record of a failure, a cancellation or a pause has it."""
    traces = Traces("t1", "t2")
    cp = runs.empty_flow(around=[traces])
    cp.add_step(name="only")(step)
    for expected in ("t1", "t2"):
        with suppress(OSError, asyncio.CancelledError):
            runner(cp, run_id="r")
        header = cp.header("r")
        assert header is not None
        assert header.trace == expected
    assert traces.last == [(None, True), ("t1", False)]


def test_a_trace_takes_no_write_of_its_own(runner: Runner, runs: Runs) -> None:
    """A run with traces stores as many snapshots as one without."""
    for number, around in enumerate(([], [Traces("t1", "t2")])):
        cp = runs.flow("a", "b", around=around)
        runs.faults["step b"] = OSError("broken")
        with pytest.raises(OSError, match="broken"):
            runner(cp, run_id=f"r{number}")
        runs.faults.clear()
        runner(cp, run_id=f"r{number}")
    written = [event for event in runs.events if isinstance(event, SnapshotWritten)]
    assert [event.run_id for event in written] == ["r0"] * 3 + ["r1"] * 3
    headers = [cp.header("r0"), cp.header("r1")]
    assert headers[0] is not None
    assert headers[1] is not None
    assert headers[0].sequence == headers[1].sequence == 4


KILLED = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow
def around(part, event):
    if part == "run":
        event.set_trace("the killed one")
cp = CheckpointFlow(sys.argv[1], name="f", around=[around])
@cp.add_step()
async def only(state):
    os.kill(os.getpid(), signal.SIGKILL)
import asyncio
asyncio.run(cp.arun({}, run_id="r"))
"""


@pytest.mark.leaves_files
@pytest.mark.parametrize("place", ["runs/", "sqlite:///runs.db"])
def test_execution_that_was_killed_in_its_first_step_has_a_trace(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored with the snapshot of the start."""
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run([sys.executable, "-c", KILLED, place], check=False)
    assert ended.returncode == -signal.SIGKILL
    traces = Traces("t2")
    cp = CheckpointFlow(place, name="f", around=[traces])
    cp.add_step(name="only")(lambda state: None)
    cp.run(run_id="r")
    assert traces.last == [("the killed one", False)]


def test_hook_sets_the_trace(any_runner: Runner, flows: FlowFactory) -> None:
    """A flow without `around=` may set it in a hook of the start."""

    async def hook(event: Event) -> None:
        if isinstance(event, RunStarted):
            event.set_trace(PARENT)

    cp = CheckpointFlow(flows.path, hooks=[hook])
    cp.add_step(name="only")(lambda state: None)
    any_runner(cp)
    assert flows.header().trace == PARENT


@pytest.mark.parametrize("trace", ["", "x" * 257, "two\nlines", 7, None, b"bytes"])
def test_bad_trace_is_refused(trace: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """By an error at the call, which the log has, and which breaks no run."""
    errors: list[Exception] = []

    def hook(event: Event) -> None:
        if isinstance(event, RunStarted):
            event.set_trace("the first one")
            try:
                event.set_trace(trace)
            except (InvalidTypeError, InvalidValueError) as error:
                errors.append(error)
                raise

    cp = CheckpointFlow(flows.path, hooks=[hook])
    cp.add_step(name="only")(lambda state: None)
    cp.run()
    assert len(errors) == 1
    assert "trace" in str(errors[0])
    assert isinstance(errors[0], InvalidValueError) == isinstance(trace, str)
    assert flows.header().trace == "the first one"


def test_trace_is_set_at_the_start_only(flows: FlowFactory) -> None:
    """A call that comes too late says when it is in time."""
    started: list[RunStarted] = []

    def hook(event: Event) -> None:
        if isinstance(event, RunStarted):
            started.append(event)

    cp = CheckpointFlow(flows.path, hooks=[hook])
    cp.add_step(name="only")(lambda state: None)
    cp.run()
    with pytest.raises(InvalidValueError, match="before the first snapshot"):
        started[0].set_trace("too late")
    assert flows.header().trace is None


def test_events_of_starts_are_values(flows: FlowFactory) -> None:
    """They are compared, printed and copied without the trace that is set, and can be pickled."""
    cp = flows.flow("a")
    cp.run()
    (event,) = [one for one in flows.events if isinstance(one, RunStarted)]
    assert copy.copy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert "own_trace" not in repr(event)


@pytest.mark.parametrize("steps", [("a", "b"), tuple(map(str, range(200)))])
def test_key_of_the_header(steps: tuple[str, ...]) -> None:
    """It is absent where there is none, and any text comes back as it was."""
    header = Header(flow="f", position=0, steps=steps)
    assert "trace" not in json.loads(encode_header(header))
    for trace in (PARENT, 'a "quoted" one', "ein Schlüssel 🔑"):
        marked = Header(flow="f", position=0, steps=steps, trace=trace)
        assert json.loads(encode_header(marked))["trace"] == trace
        assert decode_header(encode_header(marked)) == marked
    encoded = encode_header(header).replace(b'"flow":"f"', b'"flow":"f","trace":7')
    with pytest.raises(ValueError, match="trace"):
        decode_header(encoded)
