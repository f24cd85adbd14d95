"""`map`, `stream` and `resume_all`: plain iterators over runs on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT
from plain_loops import LOOP, HeldFlow, nothing_runs, threads_of_loops, until
from support import no_more_threads

import aiocheckpoint
from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidTypeError,
    InvalidValueError,
    NoThreadError,
    RunResult,
    StreamConsumedError,
    SyncStream,
    events,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from support import State

NAME = re.compile("`([a-z_]+)`")
VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def make_flow(path: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
    """Make a flow with a step in a thread and one on the loop, which say where they were."""
    cp: CheckpointFlow = CheckpointFlow(f"sqlite:///{path}/runs.db", fsync=False, **options)

    @cp.add_step()
    def sync(state: State) -> None:
        state["sync"] = threading.current_thread().name, VARIABLE.get()
        VARIABLE.set("changed")
        if state.get("fails"):
            raise ConnectionError

    @cp.add_step()
    async def coroutine(state: State) -> None:
        await asyncio.sleep(0)
        state["coroutine"] = threading.current_thread().name, VARIABLE.get()

    return cp


def pairs(number: int) -> dict[str, State]:
    """Make some runs."""
    return {str(n): {"n": n} for n in range(number)}


def generated(number: int) -> Iterator[tuple[str, State]]:
    """Give them one by one, with the thread that asks."""
    for run_id, state in pairs(number).items():
        yield run_id, {**state, "thread": threading.current_thread().name}


async def generated_later(number: int) -> AsyncIterator[tuple[str, State]]:
    """Give them one by one, asynchronously."""
    for pair in generated(number):
        await asyncio.sleep(0)
        yield pair


@pytest.mark.parametrize(
    ("make", "thread"),
    [
        (pairs, None),
        (lambda number: list(pairs(number).items()), None),
        (
            lambda number: zip(map(str, range(number)), ({} for _ in range(number)), strict=True),
            None,
        ),
        (generated, "MainThread"),
        (generated_later, LOOP),
    ],
    ids=["dict", "list", "zip", "generator", "async generator"],
)
def test_map_of_each_kind_of_runs(
    make: Callable[[int], Any], thread: str | None, tmp_path: Path
) -> None:
    """All are run as by `arun`. A generator is asked in the caller's thread."""
    cp = make_flow(tmp_path)
    VARIABLE.set("of the caller")
    results = list(cp.map(make(12), limit=5))
    assert sorted(int(result.run_id or "") for result in results) == list(range(12))
    for result in results:
        assert (result.error, result.status) == (None, "finished")
        assert result.state is not None
        assert result.state["sync"] == ("aiocheckpoint-step", "of the caller")
        assert result.state["coroutine"] == (LOOP, "changed")
        assert result.state.get("thread") == thread
    assert VARIABLE.get() == "of the caller"
    assert threads_of_loops() == []


def test_failures_beside_successes(tmp_path: Path) -> None:
    """They come as results."""
    cp = make_flow(tmp_path)
    runs: dict[str, State] = {"good": {"n": 1}, "bad": {"fails": True}}
    found = {result.run_id: repr(result.error) for result in cp.map(runs)}
    assert found == {"good": "None", "bad": "ConnectionError()"}


def test_same_results_as_amap(tmp_path: Path) -> None:
    """The twin gives what `amap` gives."""
    cp = make_flow(tmp_path)
    theirs = {result.run_id: result for result in asyncio.run(cp.amap(pairs(3), once=True))}
    assert {result.run_id: result for result in cp.map(pairs(3), once=True)} == theirs


def test_resume_all(tmp_path: Path) -> None:
    """It resumes what a drained process has left, and then finds nothing."""
    held = HeldFlow(tmp_path)
    held.store_stopped(pairs(5))
    held.free.set()
    cp = held.flow()
    found = {result.run_id: result.status for result in cp.resume_all(limit=2)}
    assert found == dict.fromkeys(pairs(5), "finished")
    assert held.most <= 2
    assert list(cp.resume_all()) == []


def test_work(tmp_path: Path) -> None:
    """It does what is queued, until nothing is left, and is refused a second time meanwhile."""
    held = HeldFlow(tmp_path)
    held.free.set()
    cp = held.flow()
    cp.submit(pairs(5))
    with cp.work(limit=2) as results:
        next(results)
        with pytest.raises(InvalidValueError, match="work"):
            next(cp.work())
    list(cp.work(limit=2, until_empty=True))
    list(cp.resume_all(status=("cancelled", "running")))  # Those that were closed with the first.
    assert cp.count("status")["finished"] == 5
    assert list(cp.work(until_empty=True)) == []
    assert held.most <= 2
    assert threads_of_loops() == []


@pytest.mark.parametrize("sync", [True, False])
def test_never_more_ahead_than_the_limit(tmp_path: Path, *, sync: bool) -> None:
    """Runs in progress and untaken results are `limit` at most, and the source is asked late."""
    held, taken, given = HeldFlow(tmp_path, sync=sync), 0, 0

    def source() -> Iterator[tuple[str, State]]:
        nonlocal taken
        for number in range(20):
            assert taken - given < 4
            taken += 1
            yield str(number), {}

    held.free.set()
    results = held.flow().map(source(), limit=4)
    assert taken == 0
    for _ in results:
        assert taken - given <= 4
        given += 1
    assert (given, taken) == (20, 20)
    assert held.most <= 4


def test_runs_go_on_while_the_caller_is_busy(tmp_path: Path) -> None:
    """The loop runs in its thread, and needs the caller for nothing."""
    held = HeldFlow(tmp_path)
    with held.flow().map(pairs(5), limit=5) as results:
        held.free.set()
        next(results)
        until(lambda: len(held.ran) == 5)
        assert threads_of_loops() == [LOOP]


async def test_where_a_loop_runs_already(tmp_path: Path) -> None:
    """It works in a notebook, whose loop is blocked meanwhile."""
    cp = make_flow(tmp_path)
    assert len(list(cp.map(generated(5)))) == 5
    kinds = [type(event) for event in cp.stream({}, run_id="r")]
    assert (kinds[0], kinds[-1]) == (events.RunStarted, events.RunFinished)
    assert list(cp.resume_all()) == []


def test_in_several_threads_at_once(tmp_path: Path) -> None:
    """Each has a loop of its own, on one flow."""
    cp, found = make_flow(tmp_path), list[RunResult]()

    def work(number: int) -> None:
        found.extend(cp.map({f"{number}-{n}": {} for n in range(5)}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {repr(result.error) for result in found} == {"None"}
    assert len({result.run_id for result in found}) == 20


def test_one_stream_in_two_threads(tmp_path: Path) -> None:
    """The second thread is refused while the first waits, and may go on afterwards."""
    held = HeldFlow(tmp_path)
    results = held.flow().map(pairs(3))
    first = list[RunResult]()
    thread = threading.Thread(target=lambda: first.append(next(results)))
    thread.start()
    held.arrived(3)
    for use in (lambda: next(results), results.close):
        with pytest.raises(StreamConsumedError, match="another thread"):
            use()
    held.free.set()
    thread.join()
    assert len([*first, *results]) == 3


def test_events_wait_for_the_loop(tmp_path: Path) -> None:
    """A run is 16 events ahead at most, and raises its own exception behind the last one."""
    cp: CheckpointFlow = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    ran, error = list[int](), ConnectionError("down")

    def step(state: State) -> None:
        ran.append(1)
        if len(ran) == 20:
            raise error

    for number in range(20):
        cp.add_step(name=str(number))(step)
    stream = cp.stream({})
    next(stream)
    until(lambda: len(ran) >= 5)
    assert len(ran) < 8
    with pytest.raises(ConnectionError) as caught:
        list(stream)
    assert caught.value is error
    assert "step 20 of 20" in "\n".join(error.__notes__)


def test_traceback_shows_the_line_that_broke(tmp_path: Path) -> None:
    """At most two frames of the library are between the caller and the step."""
    cp: CheckpointFlow = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    def step(state: State) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        list(cp.stream({}))
    frames = traceback.extract_tb(caught.value.__traceback__)
    library = str(aiocheckpoint.__path__[0])
    assert sum(frame.filename.startswith(library) for frame in frames) <= 2
    assert frames[-1].name == "step"


def test_error_of_the_source(tmp_path: Path) -> None:
    """The runs that were begun end first, then the same error comes out."""
    error = ValueError("bad row")

    def source() -> Iterator[tuple[str, State]]:
        yield from pairs(3).items()
        raise error

    found = list[RunResult]()
    with pytest.raises(ValueError, match="bad row") as caught:
        found.extend(make_flow(tmp_path).map(source()))
    assert caught.value is error
    assert len(found) == 3
    frames = traceback.extract_tb(error.__traceback__)
    library = str(aiocheckpoint.__path__[0])
    assert sum(frame.filename.startswith(library) for frame in frames) <= 2
    assert frames[-1].name == "source"


def test_error_of_the_source_that_nobody_sees(tmp_path: Path) -> None:
    """A stream that is dropped before its error came out is closed at once."""

    def source() -> Iterator[tuple[str, State]]:
        yield from pairs(3).items()
        raise ValueError

    results = make_flow(tmp_path).map(source())
    assert len([next(results) for _ in range(3)]) == 3
    del results
    assert threads_of_loops() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interruption_in_the_source(error: type[BaseException], tmp_path: Path) -> None:
    """It comes out at once, and the runs are cancelled."""
    held = HeldFlow(tmp_path)

    def source() -> Iterator[tuple[str, State]]:
        yield from pairs(2).items()
        held.arrived(2)
        raise error

    cp = held.flow()
    with pytest.raises(error):
        next(cp.map(source()))
    assert cp.count("status")["cancelled"] == 2
    assert threads_of_loops() == []


def test_interruption_by_a_step(tmp_path: Path) -> None:
    """What ends the loop comes out in the thread that waits, as it would of `asyncio.run`."""
    held = HeldFlow(tmp_path)
    cp = held.flow()

    async def leave(state: State) -> None:
        if "leaves" in state:
            while not held.inside:  # noqa: ASYNC110 - changed by another run
                await asyncio.sleep(0.001)
            raise SystemExit(3)

    cp.add_step(name="leave", before="second")(leave)
    with pytest.raises(SystemExit):
        list(cp.map({"0": {"leaves": True}, "1": {}}))
    assert threads_of_loops() == []
    assert cp.count("status")["cancelled"] == 1


def test_drained_by_another_thread(tmp_path: Path) -> None:
    """The rest of the source is not taken. Each pair that was taken has a result."""
    held, asked = HeldFlow(tmp_path, sync=True), 0
    drained = threading.Event()

    def source() -> Iterator[tuple[str, State]]:
        nonlocal asked
        for number in range(9):
            asked += 1
            if number == 2:
                held.arrived(2)
                drain.start()
                until(lambda: cp._core.settings.active_runs.drain_requested)  # noqa: SLF001
                held.free.set()
            yield str(number), {}

    def work() -> None:
        asyncio.run(cp.adrain())
        drained.set()

    drain, cp = threading.Thread(target=work), held.flow()
    found, results = list[RunResult](), cp.map(source())
    with pytest.raises(DrainingError):
        found.extend(results)
    drain.join()
    assert drained.is_set()
    assert asked == 3
    assert sorted(result.run_id or "" for result in found) == ["0", "1", "2"]
    by_id = {result.run_id: type(result.error).__name__ for result in found}
    assert by_id["2"] == "DrainingError"


def test_bad_input_at_once(tmp_path: Path) -> None:
    """Arguments are checked by the call, items by the iterator. The words name the method."""
    cp = make_flow(tmp_path)
    bad: Any = 3
    with pytest.raises(InvalidTypeError, match=r"^map\(\) takes"):
        cp.map(bad)
    with pytest.raises(InvalidTypeError, match=r"^map\(\) takes pairs"):
        list(cp.map([bad]))
    for limit in (0, -1):
        with pytest.raises(InvalidValueError, match="limit="):
            cp.map({}, limit=limit)
        with pytest.raises(InvalidValueError, match="limit="):
            cp.resume_all(limit=limit)
    with pytest.raises(InvalidTypeError):
        cp.stream(bad)
    assert threads_of_loops() == []


def test_no_thread(tmp_path: Path) -> None:
    """Where no thread can be started, an error of the library says so, and nothing is left."""
    cp = make_flow(tmp_path)
    results = cp.map(pairs(2))
    with no_more_threads(), pytest.raises(NoThreadError):
        next(results)
    assert list(results) == []
    assert threads_of_loops() == []


def test_every_method_has_a_twin() -> None:
    """Each method for services has one, and the table of the documentation names both."""
    page = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `a")]
    named = dict(pair for row in rows for pair in zip(*map(NAME.findall, row), strict=True))
    methods = {name for name in dir(CheckpointFlow) if f"a{name}" in dir(CheckpointFlow)}
    lacking = {
        name
        for name, member in inspect.getmembers(CheckpointFlow, inspect.isfunction)
        if name.startswith("a") and inspect.iscoroutinefunction(member) and name[1:] not in methods
    }
    assert lacking == set()
    assert {f"a{name}": name for name in methods}.items() <= named.items()


def test_iterator(tmp_path: Path) -> None:
    """It is its own iterator, says how far it is, and has no more items behind its end."""
    cp = make_flow(tmp_path)
    results = cp.map(pairs(2))
    assert isinstance(results, SyncStream)
    assert iter(results) is results
    said = [repr(results)]
    next(results)
    said.append(repr(results))
    assert len(list(results)) == 1
    said.append(repr(results))
    assert list(results) == []
    results.close()
    begin = "not begun: iterate over it, or call list(...)"
    assert said == [f"<SyncStream of results, {how}>" for how in (begin, "begun", "ended")]
    assert repr(cp.stream({})) == f"<SyncStream of events, {begin}>"
    assert list(cp.map({})) == []
    assert nothing_runs()
