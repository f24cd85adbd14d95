"""Calls of a database from signal handlers and finalizers, in the midst of another call."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointError, CheckpointFlow, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make_flow(path: Path) -> CheckpointFlow:
    """Make a flow of one step, with one finished run."""
    cp = CheckpointFlow(path, "sqlite")
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="before")
    return cp


CALLS: dict[str, Callable[[CheckpointFlow], object]] = {
    "runs": lambda cp: cp.runs(limit=3),
    "header": lambda cp: cp.header("before"),
    "read": lambda cp: cp.read("before"),
    "plan": lambda cp: cp.plan(run_id="before"),
    "run": lambda cp: cp.run({}, run_id="inner"),
    "arun": lambda cp: asyncio.run(cp.arun({}, run_id="inner")),
    "delete": lambda cp: cp.delete("before"),
    "write": lambda cp: cp.handler.write({"x": 1}),
    "close": lambda cp: cp.handler.close(),
}
CHANGES = ("run", "arun", "delete", "write")


@pytest.mark.parametrize("call", CALLS)
def test_in_the_midst_of_a_reading(call: str, tmp_path: Path) -> None:
    """A signal handler of the reading thread may call anything, and the reading goes on."""
    cp = make_flow(tmp_path / "runs.db")
    with closing(cp.handler):
        with cp.handler._client.reading() as connection:  # noqa: SLF001
            CALLS[call](cp)
            assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] in {0, 1, 2}
        assert cp.run({}, run_id="after") == {}
        assert {"after"} <= {header.run_id for header in cp.runs()}


class Finalized:
    """An object that calls a function when it is collected, and belongs to a cycle."""

    def __init__(self, call: Callable[[], object], outcome: list[object]) -> None:
        self._call = call
        self._outcome = outcome
        self.itself = self

    def __del__(self) -> None:
        """Call it, and note the outcome."""
        try:
            self._outcome.append((self._call(), threading.current_thread().name))
        except CheckpointError as error:
            self._outcome.append(error)


@pytest.mark.parametrize("call", CALLS)
def test_finalizer_in_the_writer_thread(call: str, tmp_path: Path) -> None:
    """A finalizer in the writer's own thread may read. What it cannot do is an error."""
    cp, outcome = make_flow(tmp_path / "runs.db"), list[Any]()
    with closing(cp.handler):
        Finalized(lambda: CALLS[call](cp), outcome)

        def collect(_: object) -> None:
            gc.collect()

        cp.handler._client.call(collect)  # noqa: SLF001
        assert len(outcome) == 1
        if call in CHANGES:
            assert isinstance(outcome[0], StorageError)
            assert "thread" in str(outcome[0])
        else:
            assert outcome[0][1] == "aiocheckpoint-writer"
        assert cp.run({}, run_id="after") == {}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX alone has timers")
@pytest.mark.parametrize("call", CALLS)
def test_signal_while_the_writer_starts(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in the very start of the writer thread is served, and each request done once."""
    cp, calls = make_flow(tmp_path / "runs.db"), list[object]()
    cp.handler.close()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.undo()
        calls.append(CALLS[call](cp))  # as a signal handler would, before the start or after it
        start(thread)
        calls.append(CALLS["runs"](cp))

    with closing(cp.handler):
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        assert cp.run({}, run_id="outer") == {}
        assert len(calls) == 2
        header = cp.header("outer")
        assert header is not None
        assert header.status == "finished"
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]
