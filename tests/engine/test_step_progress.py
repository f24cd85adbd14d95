"""A step says how far it is: listeners, hooks and streams are told, each in its place."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import pickle
import signal
import threading
import time
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hearing import PATIENCE, Hearing, core_of, heard, word_of

from aiocheckpoint import (
    CheckpointFlow,
    CurrentStep,
    InvalidTypeError,
    InvalidValueError,
    Pause,
    Retry,
    RunTerminatedError,
    Terminate,
    current_step,
)
from aiocheckpoint._engine import dispatch
from aiocheckpoint._model.current_step import CURRENT, ReportingStep
from aiocheckpoint.events import (
    AttemptFailed,
    Event,
    RunStarted,
    StepFailed,
    StepFinished,
    StepProgressed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State

TWICE = Retry(attempts=2, wait_initial=0, wait_jitter=0)


def one_step(
    place: Path,
    work: Callable[[CurrentStep], object],
    *,
    asynchronous: bool = False,
    hooks: tuple[Any, ...] = (),
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of one step "a", sync or async, that calls `work`."""
    cp = CheckpointFlow(place / "a.pkl", fsync=False, hooks=hooks)

    async def awaited(state: State) -> None:
        work(current_step())

    def called(state: State) -> None:
        work(current_step())

    cp.add_step(name="a", **options)(awaited if asynchronous else called)
    return cp


def counting(step: CurrentStep) -> None:
    """Report a thousand amounts at once."""
    for done in range(1_001):
        step.progress(done, 1_000, "rows")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_first_and_last(any_runner: Runner, tmp_path: Path, asynchronous: bool) -> None:  # noqa: FBT001
    """The first amount is told at once, the last before the end, and at most ten a second."""
    hooked = list[Event]()
    cp = one_step(tmp_path, counting, asynchronous=asynchronous, hooks=(hooked.append,))
    began = time.monotonic()
    with heard(cp) as hearing:
        any_runner(cp, {})
    told, most = hearing.progress, (time.monotonic() - began) * 10 + 2
    assert (told[0], told[-1]) == (0, 1_000)
    assert told == sorted(told)
    assert len(told) <= most
    assert hearing.words[:2] == ["RunStarted", "StepStarted a"]
    assert hearing.words[-3:] == ["a 1000", "StepFinished a", "RunFinished"]
    last = [one for one in hearing.events if isinstance(one, StepProgressed)][-1]
    assert (last.step, last.index, last.of, last.attempt) == ("a", 0, 1, 1)
    assert (last.total, last.note, last.number) == (1_000, "rows", 1)
    # Hooks may be too slow for some of them, and get each other event, in the same order.
    assert [one for one in hooked if not isinstance(one, StepProgressed)] == [
        one for one in hearing.events if not isinstance(one, StepProgressed)
    ]
    in_order = iter(hearing.events)
    assert all(event in in_order for event in hooked)
    assert last in hooked


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_last_while_the_step_works(
    any_runner: Runner,
    tmp_path: Path,
    asynchronous: bool,  # noqa: FBT001
) -> None:
    """The timer tells the last amount of a step that says nothing more, and goes on working."""
    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False)
    hearing, seen = Hearing(awaited=2), list[bool]()

    def work(step: CurrentStep) -> None:
        step.progress(1)
        step.progress(2)
        seen.append(hearing.done.wait(PATIENCE))

    cp = one_step(tmp_path, work, asynchronous=asynchronous)
    with heard(cp, hearing):
        any_runner(cp, {})
    assert seen == [True]
    assert hearing.progress == [1, 2]
    assert hearing.thread_of("a 2") == "aiocheckpoint-progress"


def test_from_a_thread_of_its_own(any_runner: Runner, tmp_path: Path) -> None:
    """A thread that the step starts may report, and is heard at once, in that thread."""
    hearing = Hearing(awaited=7)

    def work(step: CurrentStep) -> None:
        thread = threading.Thread(target=step.progress, args=(7,), name="pages")
        thread.start()
        thread.join()
        assert hearing.done.is_set()

    cp = one_step(tmp_path, work)
    with heard(cp, hearing):
        any_runner(cp, {})
    assert hearing.thread_of("a 7") == "pages"


def test_many_threads_of_one_step(runner: Runner, tmp_path: Path) -> None:
    """Amounts that eight threads report are told one by one, and the last one is told."""

    def work(step: CurrentStep) -> None:
        threads = [threading.Thread(target=counting, args=(step,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        step.progress(2_000)

    inside, overlaps = threading.Lock(), list[Event]()

    def listener(event: Event) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(event)
            return
        hearing(event)
        inside.release()

    cp, hearing = one_step(tmp_path, work), Hearing()
    with heard(cp, listener):
        runner(cp, {})
    assert overlaps == []
    assert hearing.words[-3:] == ["a 2000", "StepFinished a", "RunFinished"]


def test_attempts(runner: Runner, tmp_path: Path) -> None:
    """The last amount of a failed attempt comes before its end, and the next one begins anew."""

    def work(step: CurrentStep) -> None:
        step.progress(1, note="first")
        step.progress(step.attempt * 10)
        if step.attempt == 1:
            raise ConnectionError

    cp = one_step(tmp_path, work, retry=TWICE)
    with heard(cp) as hearing:
        runner(cp, {})
    middle = hearing.words[1:-1]
    assert middle.index("a 10") + 1 == middle.index("AttemptFailed a")
    assert middle[-2:] == ["a 20", "StepFinished a"]
    numbers = [one.attempt for one in hearing.events if isinstance(one, StepProgressed)]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2}


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ValueError("no"), ["StepFailed a"]),
        (Pause("wait"), ["StepPaused a", "RunFinished"]),
        (Terminate("enough"), ["RunTerminated"]),
        (asyncio.CancelledError(), ["StepFailed a"]),
    ],
    ids=["failed", "paused", "terminated", "cancelled"],
)
def test_every_end(runner: Runner, tmp_path: Path, end: BaseException, words: list[str]) -> None:
    """The last amount is told before the event of the end, whatever ends the step."""

    def work(step: CurrentStep) -> None:
        step.progress(1)
        step.progress(2)
        raise end

    cp = one_step(tmp_path, work)
    expected = (ValueError, RunTerminatedError, asyncio.CancelledError)
    with heard(cp) as hearing, contextlib.suppress(*expected):
        runner(cp, {})
    assert hearing.words[-len(words) - 1 :] == ["a 2", *words]


def test_after_the_end(runner: Runner, tmp_path: Path) -> None:
    """A step that has ended is told no more, nor is an attempt, nor a copy of a step."""
    kept = list[CurrentStep]()

    def late(event: Event) -> None:
        if isinstance(event, StepFinished):
            kept[0].progress(98, cursor={"page": 98})

    def work(step: CurrentStep) -> None:
        for stale in kept:
            stale.progress(99, cursor={"page": 99})  # of the first attempt
        assert step.cursor is None
        kept.append(step)
        step.progress(step.attempt)
        for copied in (pickle.loads(pickle.dumps(step)), copy.copy(step), CurrentStep(*step)):
            assert copied == step
            assert type(copied) is CurrentStep
            copied.progress(99)
            assert copied.cursor is None
        if step.attempt == 1:
            raise ConnectionError

    cp = one_step(tmp_path, work, retry=TWICE, hooks=(late,))
    with heard(cp) as hearing:
        runner(cp, {})
        kept[-1].progress(99)
    assert hearing.progress == [1, 2]
    assert kept[-1].cursor is None


def test_thread_that_the_end_overtakes(runner: Runner, tmp_path: Path) -> None:
    """A thread that comes first behind the end, and had found the step before it, tells nothing."""
    found = list[ReportingStep]()

    def work(step: CurrentStep) -> None:
        in_progress = CURRENT.get()
        assert in_progress is not None
        assert in_progress.reporting is not None
        assert in_progress.reporting.reports is None  # Nothing was said, so nothing is made.
        found.append(in_progress.reporting)

    cp = one_step(tmp_path, work)
    with heard(cp) as hearing:
        runner(cp, {})
        found[0].make_reports().report(99, None, None, '{"page":99}')
    assert hearing.progress == []
    assert found[0].make_reports() is found[0].reports


def test_cursor_of_the_next_attempt(runner: Runner, tmp_path: Path) -> None:
    """A cursor is handed to the next attempt, as a copy, and stays until another one is given."""
    seen = list[object]()

    def work(step: CurrentStep) -> None:
        found = step.cursor
        seen.append(copy.copy(found))
        if found is not None:
            found["page"] = 0
        step.progress(1, cursor={"page": step.attempt})
        step.progress(2)
        assert step.cursor == {"page": step.attempt}
        if step.attempt == 1:
            raise ConnectionError

    cp = one_step(tmp_path, work, retry=TWICE)
    runner(cp, {})
    assert seen == [None, {"page": 1}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child(tmp_path: Path) -> None:
    """A forked child is not heard: its steps are its parent's."""
    codes = list[int]()

    def work(step: CurrentStep) -> None:
        step.progress(1)
        child = os.fork()
        if child == 0:
            before = len(hearing.events)
            step.progress(2)
            step.progress(3, cursor={"page": 3})
            core_of(cp).settings.listeners.add(hearing)
            os._exit(0 if len(hearing.events) == before and step.cursor is None else 1)
        codes.append(os.waitpid(child, 0)[1])

    cp = one_step(tmp_path, work)
    with heard(cp) as hearing:
        cp.run({})
    assert codes == [0]
    assert hearing.progress == [1]


class NoIndex:
    """A number in name only."""

    def __index__(self) -> Any:  # noqa: ANN401 - no int
        """Give a text."""
        return "7"  # noqa: PLE0305 - as a broken class does


class NoDtype:
    """An object whose attribute raises, as that of some data sets does."""

    def __float__(self) -> float:
        """Give a number."""
        return 1.0

    @property
    def dtype(self) -> object:
        """Raise."""
        raise OSError


BAD: list[tuple[type[Exception], dict[str, Any]]] = [
    (InvalidTypeError, {"done": "1"}),
    (InvalidTypeError, {"done": True}),
    (InvalidTypeError, {"done": None}),
    (InvalidTypeError, {"done": 1j}),
    (InvalidTypeError, {"done": np.zeros(2)}),
    (InvalidTypeError, {"done": np.bool_(True)}),  # noqa: FBT003 - a value of numpy
    (InvalidTypeError, {"done": np.array(True)}),  # noqa: FBT003
    (InvalidTypeError, {"done": NoIndex()}),
    (InvalidTypeError, {"done": NoDtype()}),
    (InvalidValueError, {"done": np.array(-0.5)}),
    (InvalidValueError, {"done": -1}),
    (InvalidValueError, {"done": float("nan")}),
    (InvalidValueError, {"done": float("inf")}),
    (InvalidValueError, {"done": 10**400}),
    (InvalidValueError, {"done": Fraction(10**400)}),
    (InvalidValueError, {"done": Decimal(-3)}),
    (InvalidTypeError, {"done": 1, "total": "2"}),
    (InvalidTypeError, {"done": 1, "total": False}),
    (InvalidValueError, {"done": 1, "total": -2}),
    (InvalidValueError, {"done": 1, "total": float("nan")}),
    (InvalidTypeError, {"done": 1, "note": b"rows"}),
    (InvalidTypeError, {"done": 1, "cursor": [1]}),
    (InvalidValueError, {"done": 1, "cursor": {"page": float("nan")}}),
]


def test_bad_arguments(tmp_path: Path) -> None:
    """A bad argument is refused by its name, and tells nothing. Also outside of the step."""
    kept = list[CurrentStep]()

    def work(step: CurrentStep) -> None:
        kept.append(step)
        for kind, given in BAD:
            with pytest.raises(kind) as info:
                step.progress(**given)
            assert list(given)[-1] in str(info.value)

    cp = one_step(tmp_path, work)
    with heard(cp) as hearing:
        cp.run({})
    assert hearing.progress == []
    with pytest.raises(InvalidTypeError):
        kept[0].progress("1")  # type: ignore[arg-type]


def test_kinds_of_numbers(tmp_path: Path) -> None:
    """Numbers of all kinds become ints and floats, and a note is cut."""
    numbers: list[Any] = [np.int64(3), np.float32(0.5), Decimal("1.5"), Fraction(1, 4), 10**20, 0.0]
    numbers += [np.array(0.5), np.array(7)]
    plain = [3, 0.5, 1.5, 0.25, 10**20, 0.0, 0.5, 7]

    class Text(str):
        __slots__ = ()

    def work(step: CurrentStep) -> None:
        step.progress(numbers[step.number - 1], np.int32(9), Text("x" * 300))

    cp = one_step(tmp_path, work)
    with heard(cp) as hearing:
        for _ in numbers:
            cp.run({})
    told = [event for event in hearing.events if isinstance(event, StepProgressed)]
    assert [event.done for event in told] == plain
    assert [type(event.done) for event in told] == [type(one) for one in plain]
    assert {(type(event.total), event.total) for event in told} == {(int, 9)}
    assert {(type(event.note), event.note) for event in told} == {(str, "x" * 200)}


def test_broken_listeners(runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A listener or a hook that raises is logged by the kind of the event, and ends nothing."""

    def broken(event: Event) -> None:
        if isinstance(event, StepProgressed):
            raise asyncio.CancelledError if event.done == 1 else ValueError("its own fault")

    cp = one_step(tmp_path, lambda step: step.progress(1), hooks=(broken,))
    with heard(cp, broken), heard(cp) as hearing:
        runner(cp, {})
    assert hearing.words[-1] == "RunFinished"
    words = [record.getMessage() for record in caplog.records]
    for kind in ("listener", "hook"):
        said = f"a {kind} raised an exception on StepProgressed. The run continues."
        assert words.count(said) == 1
    caplog.clear()


def test_log_has_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log passes over progress, at every level."""
    caplog.set_level(logging.DEBUG, "aiocheckpoint")
    cp = one_step(tmp_path, counting)
    with heard(cp) as hearing:
        cp.run({})
    assert hearing.progress[-1] == 1_000
    assert [one for one in caplog.records if "Progress" in one.getMessage()] == []


def test_listeners_come_and_go(runner: Runner, tmp_path: Path) -> None:
    """A listener that comes in the midst of a step hears its end, and one that leaves no more."""
    comes, goes = Hearing(), Hearing()

    def work(step: CurrentStep) -> None:
        step.progress(1)
        listeners.remove(goes)
        listeners.add(comes)
        step.progress(2)

    cp = one_step(tmp_path, work)
    listeners = core_of(cp).settings.listeners
    listeners.add(goes)
    runner(cp, {})
    listeners.remove(comes)
    assert goes.words == ["RunStarted", "StepStarted a", "a 1"]
    assert comes.words == ["a 2", "StepFinished a", "RunFinished"]


def test_listener_of_one_call(tmp_path: Path) -> None:
    """A listener of one call hears that run alone, and everything before the call returns."""
    cp = one_step(tmp_path, lambda step: step.progress(step.number))
    core, hearing = core_of(cp), Hearing()
    core.run_blocking(core.request({}), None, 0.0, listener=hearing)
    cp.run({})
    assert hearing.words == ["RunStarted", "StepStarted a", "a 1", "StepFinished a", "RunFinished"]


def test_listener_that_reports(runner: Runner, tmp_path: Path) -> None:
    """A listener that calls `progress` itself, or whose thread is interrupted, waits for nothing.

    The handler of a signal has the context of the step in which it comes.
    """

    def interrupted(*_: object) -> None:
        current_step().progress(3)

    def work(step: CurrentStep) -> None:
        def listener(event: Event) -> None:
            if isinstance(event, StepProgressed) and event.done == 1:
                step.progress(2)
                if threading.current_thread() is threading.main_thread():
                    signal.raise_signal(signal.SIGTERM)

        with heard(cp, listener):
            step.progress(1)

    cp = one_step(tmp_path, work)
    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        with heard(cp) as hearing:
            runner(cp, {})
    finally:
        signal.signal(signal.SIGTERM, before)
    assert hearing.progress == [1, 3 if runner.name == "run" else 2]


def test_listener_that_hangs(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that hangs in another thread does not hold up the run for long."""
    monkeypatch.setattr(dispatch, "_PATIENCE_SECONDS", 0.01)
    entered, free, returned = threading.Event(), threading.Event(), threading.Event()

    def listener(event: Event) -> None:
        if isinstance(event, StepProgressed):
            entered.set()
            free.wait(PATIENCE)
            returned.set()

    def work(step: CurrentStep) -> None:
        thread = threading.Thread(target=step.progress, args=(1,))
        threads.append(thread)
        thread.start()
        assert entered.wait(PATIENCE)

    threads = list[threading.Thread]()
    cp = one_step(tmp_path, work)
    with heard(cp) as hearing, heard(cp, listener):
        runner(cp, {})
        assert not returned.is_set()
        assert hearing.words[-1] == "RunFinished"
        free.set()
        threads[0].join()


async def test_hooks_one_at_a_time(tmp_path: Path) -> None:
    """A slow async hook gets progress in order with other events, and never two at once."""
    hooked, inside, has_told = list[str](), 0, asyncio.Event()

    async def hook(event: Event) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        for _ in range(5):
            await asyncio.sleep(0)
        assert inside == 1
        inside -= 1
        hooked.append(word_of(event))
        if isinstance(event, StepProgressed):
            has_told.set()

    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False, hooks=[hook])

    @cp.add_step(load=lambda state: {})
    async def a(state: State) -> None:
        step = current_step()
        step.progress(1)
        await asyncio.wait_for(has_told.wait(), PATIENCE)  # before the step ends
        step.progress(2)

    await cp.arun({})
    words = [word for word in hooked if "Snapshot" not in word]
    assert words == [
        *("RunStarted", "StepStarted a", "StepLoaded a"),
        *("a 1", "a 2", "StepFinished a", "RunFinished"),
    ]


def test_hooks_of_a_coroutine_under_run(any_runner: Runner, tmp_path: Path) -> None:
    """Also under `run`, hooks get the progress of a coroutine while it is awaited."""
    hooked, has_told = list[str](), asyncio.Event()

    async def hook(event: Event) -> None:
        await asyncio.sleep(0)
        hooked.append(word_of(event))
        if isinstance(event, StepProgressed):
            has_told.set()

    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False, hooks=[hook])

    @cp.add_step()
    async def a(state: State) -> None:
        current_step().progress(1)
        await asyncio.wait_for(has_told.wait(), PATIENCE)

    any_runner(cp, {})
    assert [word for word in hooked if "Snapshot" not in word] == [
        *("RunStarted", "StepStarted a", "a 1", "StepFinished a", "RunFinished")
    ]


@pytest.mark.parametrize("status", ["finished", "cancelled"])
async def test_cancelled_in_a_hook(tmp_path: Path, status: str) -> None:
    """A cancellation while a hook is at progress ends the hook and the run. No task is left.

    A step that has returned is stored, and its run waits for the hook. Another one is cancelled.
    """
    entered, ended = asyncio.Event(), list[str]()

    async def hook(event: Event) -> None:
        if isinstance(event, StepProgressed):
            entered.set()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                ended.append("hook")
                raise

    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False, hooks=(hook,))

    @cp.add_step()
    async def a(state: State) -> None:
        current_step().progress(1)
        if status == "cancelled":
            await asyncio.sleep(PATIENCE)

    task = asyncio.create_task(cp.arun({}))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["hook"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    header = await cp.aheader()
    assert header is not None
    assert header.status == status


async def test_streams(tmp_path: Path) -> None:
    """`astream` gives progress among the events, the last one included."""
    cp = one_step(tmp_path, counting)
    words = [word_of(event) async for event in cp.astream({})]
    assert words[-4:] == ["a 1000", "StepFinished a", "SnapshotWritten", "RunFinished"]


async def test_stream_left_early(tmp_path: Path) -> None:
    """A stream that is left at progress cancels the run, and leaves no task."""
    cp = one_step(tmp_path, counting, asynchronous=True)
    async with contextlib.aclosing(cp.astream({})) as stream:
        async for event in stream:
            if isinstance(event, StepProgressed):
                break
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_runs_inside_runs(runner: Runner, tmp_path: Path) -> None:
    """A run inside a step is heard by its own flow, and the step around it goes on reporting."""
    (tmp_path / "inner").mkdir()
    inner = one_step(tmp_path / "inner", lambda step: step.progress(5))

    def work(step: CurrentStep) -> None:
        step.progress(1)
        inner.run({})
        assert current_step() is not step
        current_step().progress(2)

    outer = one_step(tmp_path, work)
    with heard(outer) as of_outer, heard(inner) as of_inner:
        runner(outer, {})
    assert of_outer.progress == [1, 2]
    assert of_inner.progress == [5]


async def test_abandoned_run(tmp_path: Path) -> None:
    """A run whose coroutine is closed in the midst of a hook leaves no task of it behind."""
    entered = asyncio.Event()

    async def hook(event: Event) -> None:
        if isinstance(event, StepProgressed):
            entered.set()
            await asyncio.sleep(PATIENCE)

    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False, hooks=[hook])

    @cp.add_step()
    async def a(state: State) -> None:
        current_step().progress(1)
        await asyncio.sleep(PATIENCE)

    work = cp.arun({})
    waiting = work.send(None)
    while not entered.is_set():
        await asyncio.sleep(0)
        if waiting is None or waiting.done():
            waiting = work.send(None)
    assert len(asyncio.all_tasks()) > 1
    work.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_header_of_the_start(runner: Runner, tmp_path: Path) -> None:
    """`RunStarted` has the header with which the run begins, and the run leaves it alone."""
    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False)
    cp.add_step(name="one")(lambda state: None)
    cp.add_step(name="two")(lambda state: None)
    with heard(cp) as hearing:
        runner(cp, {}, until="one")
        runner(cp)
    first, second = (one.header for one in hearing.events if isinstance(one, RunStarted))
    assert first is not None
    assert second is not None
    assert (first.number, list(first.durations)) == (1, [])
    assert (second.number, list(second.durations)) == (1, ["one"])
    assert second.started_at == first.started_at > 0


def test_kinds_of_failures(runner: Runner, tmp_path: Path) -> None:
    """`AttemptFailed` and `StepFailed` come behind what their attempts have said last."""

    def work(step: CurrentStep) -> None:
        step.progress(0)
        step.progress(step.attempt)
        raise ConnectionError

    cp = one_step(tmp_path, work, retry=TWICE)
    with heard(cp) as hearing, pytest.raises(ConnectionError):
        runner(cp, {})
    last = None
    for event in hearing.events:
        if isinstance(event, (AttemptFailed, StepFailed)):
            assert last is not None
            assert (last.done, last.attempt) == (event.attempt, event.attempt)
        elif isinstance(event, StepProgressed):
            last = event
