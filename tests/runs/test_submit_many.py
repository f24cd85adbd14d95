"""Many runs are queued by one call: their results, their sources, and what breaks in between."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import this_task
from locations import program
from queued_runs import make_run, stored
from run_factories import Runs, ids
from simulated_processes import handler_apart, shut_down
from submit_script import make_flow, state_of
from suspension_points import AwaitInterrupter

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    RunTerminatedError,
    StateConflictError,
    StorageError,
    UnserializableStateError,
)
from aiocheckpoint.handlers.leased import QueuedColumns
from aiocheckpoint.handlers.leased._inserting import Inserter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from support import Runner

    from aiocheckpoint.handlers.leased._inserting import Inserted
    from aiocheckpoint.handlers.sqlite import SqliteStateHandler

MANY = 600
"""More than are stored together."""


def numbered(count: int) -> dict[str, dict[str, Any]]:
    """States by run id."""
    return {f"run-{number}": {"n": number} for number in range(count)}


@pytest.mark.parametrize("form", ["dict", "list", "generator"])
def test_results_in_order(form: str, runs: Runs, runner: Runner) -> None:
    """Each run has a result, in the order of the runs, without a state."""
    cp, given = runs.flow("a"), numbered(MANY if runs.kind != "directory" else 300)
    forms: dict[str, Any] = {
        "dict": given,
        "list": [*given.items()],
        "generator": (pair for pair in given.items()),
    }
    results = runner.do(cp, "submit", forms[form])
    assert [result.run_id for result in results] == [*given]
    assert {(result.status, result.state, result.error) for result in results} == {
        ("queued", None, None)
    }
    assert sorted(map(str, ids(cp.runs("queued")))) == sorted(given)
    for run_id in ("run-0", "run-299"):
        assert cp.read(run_id) == {**given[run_id], "checkpoint_index": 0}
    assert runner.do(cp, "submit", []) == []


def test_order_of_the_queue(runs: Runs) -> None:
    """The runs of one call stand in the queue in their order, where a store keeps them together."""
    cp = runs.flow("a")
    cp.submit((str(number), {}) for number in range(MANY if runs.kind == "sqlite" else 20))
    queued = [int(header.run_id or "") for header in reversed(cp.runs("queued"))]
    assert queued == sorted(queued)


async def test_async_source(runs: Runs) -> None:
    """An async iterable of pairs is a source for `asubmit`. `submit` says so."""

    async def pairs() -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        for pair in numbered(5).items():
            await asyncio.sleep(0)
            yield pair

    cp = runs.flow()
    assert [result.status for result in await cp.asubmit(pairs())] == ["queued"] * 5
    with pytest.raises(InvalidTypeError, match="asubmit"):
        cp.submit(pairs())


def test_errors_beside_successes(runs: Runs, runner: Runner) -> None:
    """What is wrong with one run is its result, and keeps no other from being queued."""
    cp = runs.flow()
    cp.submit({"n": 1}, run_id="old")
    results = runner.do(
        *(cp, "submit"),
        [
            ("first", {"n": 1}),
            ("old", {"n": 1}),
            ("old", {"n": 2}),
            ("first", {"n": 1}),
            ("first", {"n": 3}),
            ("", {}),
            ("bad", {"open": (one for one in "x")}),
            ("kept", {"checkpoint_data": 1}),
            ("last", {"n": 4}),
        ],
    )
    kinds = [type(result.error) for result in results]
    nothing = type(None)
    assert kinds == [
        *(nothing, nothing, StateConflictError, nothing, StateConflictError),
        *(InvalidValueError, UnserializableStateError, InvalidValueError, nothing),
    ]
    assert all(result.error is None or result.error.__traceback__ is None for result in results), (
        "no result holds the frames of its state"
    )
    assert sorted(map(str, ids(cp.runs()))) == ["first", "last", "old"]
    assert cp.read("first")["n"] == 1


def test_terminated_among_many(runs: Runs) -> None:
    """A terminated run is one result of many."""
    cp = make_run(runs, "terminated")
    before = stored(cp)
    good, bad = cp.submit({"y": {}, "x": {"n": 1}})
    assert (good.status, type(bad.error)) == ("queued", RunTerminatedError)
    assert stored(cp) == before


@pytest.mark.parametrize("pair", ["ab", ("a",), ("a", None), (1, {}), None], ids=repr)
def test_no_pair(pair: Any, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """An item that is no pair is refused. The runs before it are stored."""
    cp = runs.flow()
    with pytest.raises(InvalidTypeError, match="a run id and a state"):
        runner.do(cp, "submit", [*numbered(3).items(), pair])
    assert cp.count() == 3
    with pytest.raises(InvalidTypeError, match="a run id and a state"):
        runner.do(cp, "submit", {"new": {}, "old": 3})
    assert cp.count() == 3


def test_source_that_raises(runs: Runs, runner: Runner) -> None:
    """The exception of a source comes out as it is. The runs before it are stored."""

    def source() -> Iterator[tuple[str, dict[str, Any]]]:
        yield from numbered(600).items()
        raise LookupError("no more")

    cp = runs.flow()
    with pytest.raises(LookupError, match="no more"):
        runner.do(cp, "submit", source())
    assert cp.count() == 600


async def test_cancelled_source(database: Runs) -> None:
    """A cancellation that reaches the source stores nothing of the chunk under way."""
    asked = asyncio.Event()

    async def source() -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        yield "first", {}
        asked.set()
        await asyncio.Event().wait()

    cp = database.flow()
    task = asyncio.create_task(cp.asubmit(source()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cp.acount() == 0


def test_source_is_taken_piece_by_piece(runs: Runs) -> None:
    """A source that makes states is not asked for all of them before any is stored."""
    taken: list[int] = []

    def source() -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(600):
            taken.append(number)
            if number == 590:
                assert cp.count() >= 512
            yield f"{number}", {}

    cp = runs.flow()
    cp.submit(source())
    assert len(taken) == cp.count() == 600


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_cancelled_anywhere(many: bool, durable_runs: Runs) -> None:  # noqa: FBT001
    """A cancelled call leaves each run whole, or nothing of it. The next call completes them."""
    cp = durable_runs.flow()
    given = {run_id: {"n": 1, "rows": [*range(9_000)]} for run_id in ("x", "y", "z")}

    async def submit() -> None:
        if many:
            await cp.asubmit(given)
        else:
            await cp.asubmit(given["x"], run_id="x")

    async def interrupted(point: int) -> int:
        cancel = this_task().cancel
        call = AwaitInterrupter(submit(), (point,), lambda _: cancel())
        task = asyncio.current_task()
        try:
            await call
        except asyncio.CancelledError:
            assert task is not None
            task.uncancel()
        return call.interrupted

    with asyncio.Runner() as runner:
        for point in range(1, 40):
            found = runner.run(interrupted(point))
            for header in cp.runs():
                assert (header.status, header.sequence) == ("queued", 1)
                assert cp.read(header.run_id)["rows"][-1] == 8_999
            if not found:
                break
            assert all(result.error is None for result in cp.submit(given))
            for run_id in given:
                cp.delete(run_id)
        assert point > 1
        assert cp.count() in {1, 3}


@pytest.mark.parametrize("method", ["submit", "asubmit", "single"])
@pytest.mark.parametrize("place", ["runs/", "sqlite"])
@pytest.mark.leaves_files
def test_killed_behind_the_call(method: str, place: str, tmp_path: Path) -> None:
    """A process that is killed when the call has returned has stored all runs."""
    count = 40 if place == "runs/" else 400
    cp, words = _killed(place, tmp_path, count, method, wait_for=2)
    assert words == ["begun", "stored"]
    assert cp.count("status")["queued"] == count
    for number in (0, count // 2, count - 1):
        assert cp.run(run_id=f"run-{number}") == {**state_of(number), "done": True}


@pytest.mark.parametrize("place", ["runs/", "sqlite"])
@pytest.mark.leaves_files
def test_killed_in_the_call(place: str, tmp_path: Path) -> None:
    """A process that is killed in the call leaves whole runs, and the call can be repeated."""
    count = 60 if place == "runs/" else 4_000
    cp, _ = _killed(place, tmp_path, count, "asubmit", wait_for=1)
    for header in cp.runs(limit=50):
        number = int((header.run_id or "").removeprefix("run-"))
        assert (header.status, header.number) == ("queued", 1)
        assert cp.read(header.run_id) == {**state_of(number), "checkpoint_index": 0}
    results = cp.submit((f"run-{number}", state_of(number)) for number in range(count))
    assert {(result.status, result.error) for result in results} == {("queued", None)}
    assert cp.count("status")["queued"] == count


def _killed(
    place: str, folder: Path, count: int, method: str, *, wait_for: int
) -> tuple[CheckpointFlow, list[str]]:
    """Queue runs in a process that is killed behind so many of its words."""
    where = f"sqlite:///{folder}/runs.db" if place == "sqlite" else f"{folder}/{place}"
    process = subprocess.Popen(
        [sys.executable, program("submit_script.py"), where, str(count), method],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        words = [process.stdout.readline().strip() for _ in range(wait_for)]
        if wait_for == 1:
            time.sleep(0.05)
        process.kill()
    return make_flow(where), words


def test_many_submitters(tmp_path: Path) -> None:
    """Of processes that queue the same runs at once, each hears of the one that is stored."""
    handlers = [handler_apart(tmp_path / "runs.db", fsync=False) for _ in "abc"]
    results: list[list[Any]] = [[], [], []]

    def submit(number: int, handler: SqliteStateHandler) -> None:
        cp = CheckpointFlow("runs", handler, name=handler.flow)
        cp.add_step(name="a")(lambda state: None)
        given = {run_id: {"by": number if run_id == "run-7" else 0} for run_id in numbered(500)}
        results[number] = cp.submit(given)

    threads = [
        threading.Thread(target=partial(submit, number, handler))
        for number, handler in enumerate(handlers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    cp = CheckpointFlow("runs", handlers[0], name=handlers[0].flow)
    assert cp.count("status")["queued"] == 500
    assert {header.number for header in cp.runs()} == {1}
    refused = [[one.run_id for one in some if one.error] for some in results]
    assert sorted(refused) == [[], ["run-7"], ["run-7"]]
    for handler in handlers:
        shut_down(handler)


async def test_many_calls_at_once(runs: Runs) -> None:
    """Many calls for one run at once queue it once, and each has its header."""
    cp = runs.flow()
    calls = [cp.asubmit({"n": 1}, run_id="x") for _ in range(30)]
    headers = await asyncio.gather(*calls)
    assert {header.sequence for header in headers} == {1}
    assert {header.status for header in headers} <= {"queued", "running"}
    assert cp.header("x") == headers[0]
    assert [type(event).__name__ for event in runs.events] == ["RunSubmitted"]


def test_store_that_cannot_be_written(tmp_path: Path, runner: Runner) -> None:
    """A store that cannot be written is the error of each run, or of the call for one."""
    (tmp_path / "file").write_bytes(b"")
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/file/runs.db")
    cp.add_step(name="a")(lambda state: None)
    with pytest.raises(StorageError):
        runner.do(cp, "submit", {}, run_id="x")
    results = runner.do(cp, "submit", numbered(3))
    assert [type(result.error) for result in results] == [StorageError] * 3


def test_states_of_all_sizes(durable_runs: Runs, runner: Runner) -> None:
    """Large states among small ones are queued, in as many transactions as their size demands."""
    cp = durable_runs.flow("a")
    given = {
        f"{size}": {"text": "x" * size} for size in (10, 1 << 12, 1 << 20, 1 << 23, 1 << 24, 7)
    }
    results = runner.do(cp, "submit", given)
    assert [result.status for result in results] == ["queued"] * len(given)
    for run_id, state in given.items():
        assert len(cp.read(run_id)["text"]) == len(state["text"])


async def test_each_result_has_an_error_of_its_own() -> None:
    """Rows that fail together fail with one exception each, to which a caller may add notes."""

    async def fail(_pending: object) -> None:
        raise StorageError("runs.db", "the disk is full")

    backend: Any = SimpleNamespace(loop=None, wait_for=fail)
    database: Any = SimpleNamespace(ask=lambda insert, loop: None)
    unused: Any = None
    results: Inserted = [None, None]
    rows: Any = {0: ("a",), 1: ("b",)}
    inserter = Inserter(database, unused, unused, unused, backend)
    columns = QueuedColumns(b"f", 0, None, 1, "queued", 1, None)
    await inserter._insert(columns, rows, results)  # noqa: SLF001
    one, other = results
    assert isinstance(one, StorageError)
    assert isinstance(other, StorageError)
    assert one is not other
