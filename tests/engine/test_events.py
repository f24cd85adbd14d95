"""Events and log lines of a run: complete, in order, and without secrets."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from contextlib import closing
from dataclasses import FrozenInstanceError, fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, make_stored

from aiocheckpoint import CheckpointFlow, Plan, events
from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    SnapshotWritten,
    StepFailed,
    StepFinished,
    StepLoaded,
    StepPaused,
    StepStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory, Runner, State

LOGGER = "aiocheckpoint"


def reported(flows: FlowFactory) -> list[tuple[object, ...]]:
    """Put events into short words, and check their common fields."""
    lines: list[tuple[object, ...]] = []
    for event in flows.events:
        assert isinstance(event, events.Event)
        assert (event.flow, event.run_id) == ("checkpoint", None)
        lines.append(line_of(event))
    return lines


def line_of(event: events.Event) -> tuple[object, ...]:
    """Put one event into short words, and check its times."""
    seconds: object = getattr(event, "seconds", 1.0)
    times = [*event.seconds.values()] if isinstance(event, StepFinished) else [seconds]
    assert all(isinstance(time, float) and time > 0 for time in times)
    if isinstance(event, events.StepEvent):
        assert (NAMES[event.index], len(NAMES)) == (event.step, event.of)
        return step_line_of(event)
    match event:
        case RunStarted(plan=plan):
            return ("run", plan.start, plan.stop)
        case SnapshotWritten():
            assert event.bytes > 0
            return ("stored", event.position)
        case RunFinished():
            return ("finished", event.status, event.position)
        case _:
            raise AssertionError(event)


def step_line_of(event: events.StepEvent) -> tuple[object, ...]:
    """Put one event of a step into short words."""
    match event:
        case StepStarted():
            return ("begin", event.step)
        case StepLoaded():
            return ("loaded", event.step)
        case StepFinished():
            return ("end", event.step, *event.seconds)
        case StepFailed():
            return ("failed", event.step, event.part, event.cancelled)
        case _:
            raise AssertionError(event)


def step(name: str, position: int, *, loads: bool = False) -> list[tuple[object, ...]]:
    """Give the events of a successful step."""
    parts = ("load", "step", "save") if loads else ("step", "save")
    loaded = [("loaded", name)] if loads else []
    return [("begin", name), *loaded, ("end", name, *parts), ("stored", position)]


def test_successful_run(any_runner: Runner, flows: FlowFactory) -> None:
    """The events of a successful run reach from its plan to its end."""
    any_runner(flows.flow())
    assert reported(flows) == [
        *(("run", 0, 3), ("stored", 0)),
        *(*step("a", 1, loads=True), *step("b", 2), *step("c", 0)),
        ("finished", "finished", 0),
    ]


def test_resumed_run(any_runner: Runner, flows: FlowFactory) -> None:
    """The events of a resumed run begin at its step, without a snapshot of the start."""
    make_stored(flows, "failed at 1")
    any_runner(flows.flow())
    assert reported(flows) == [
        ("run", 1, 3),
        *(*step("b", 2, loads=True), *step("c", 0)),
        ("finished", "finished", 0),
    ]


def test_stopped_run(any_runner: Runner, flows: FlowFactory) -> None:
    """The events of a run stopped by `until=` name the stop, and the next start."""
    any_runner(flows.flow(), until="b")
    assert reported(flows)[-2:] == [("stored", 2), ("finished", "stopped", 2)]


def test_moved_run(any_runner: Runner, flows: FlowFactory) -> None:
    """A run moved by `checkpoint=` stores its new start before the step."""
    make_stored(flows, "failed at 1")
    any_runner(flows.flow(), checkpoint="c")
    assert reported(flows) == [
        *(("run", 2, 3), ("stored", 2)),
        *step("c", 0, loads=True),
        ("finished", "finished", 0),
    ]


@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_failed_run(part: str, any_runner: Runner, flows: FlowFactory) -> None:
    """The last event of a failed run has its step, its part and the very exception."""
    flows.faults[f"{part} a"] = error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        any_runner(flows.flow())
    assert reported(flows)[-1] == ("failed", "a", part, False)
    assert [event for event in flows.events if isinstance(event, RunFinished)] == []
    failed = flows.events[-1]
    assert isinstance(failed, StepFailed)
    assert failed.error is error
    assert any("aiocheckpoint" in note for note in error.__notes__)


def test_failed_snapshot(any_runner: Runner, flows: FlowFactory) -> None:
    """A state that cannot be stored is a failure in the part "snapshot"."""
    cp = flows.flow("a")
    cp.add_step(name="b")(lambda state: state.update(bad=(number for number in range(3))))
    cp.add_step(name="c")(lambda state: None)
    with pytest.raises(TypeError, match="bad"):
        any_runner(cp)
    assert reported(flows)[-1] == ("failed", "b", "snapshot", False)


async def test_cancelled_run(flows: FlowFactory) -> None:
    """The event of a cancelled run has the very exception that is raised."""
    cp = flows.flow("a")
    reached = asyncio.Event()

    @cp.add_step(name="b")
    async def wait(state: State) -> None:
        reached.set()
        await asyncio.Event().wait()

    flows.add(cp, "c")
    task = asyncio.create_task(cp.arun())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert reported(flows)[-2:] == [("begin", "b"), ("failed", "b", "step", True)]
    failed = flows.events[-1]
    assert isinstance(failed, StepFailed)
    assert failed.error is info.value


def test_refused_run_emits_nothing(any_runner: Runner, flows: FlowFactory) -> None:
    """A run refused before it has a plan emits no events."""
    with pytest.raises(ValueError, match="99"):
        any_runner(flows.flow(), checkpoint=99)
    assert flows.events == []


def test_plan_event_is_the_plan(any_runner: Runner, flows: FlowFactory) -> None:
    """The plan in the first event is the plan that `plan` gives."""
    cp = flows.flow()
    plan = cp.plan(until="b")
    any_runner(cp, until="b")
    first = flows.events[0]
    assert isinstance(first, RunStarted)
    assert isinstance(first.plan, Plan)
    assert first.plan == plan


def test_events_have_run_id_and_number(any_runner: Runner, flows: FlowFactory) -> None:
    """Every event names its run. Runs of one path are numbered each time they begin anew."""
    cp = flows.flow("a", "b", name="orders")
    any_runner(cp, run_id="x")
    flows.faults["step b"] = error = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        any_runner(cp, run_id="x")
    flows.faults.clear()
    any_runner(cp, run_id="x")
    any_runner(cp, run_id="y")
    assert error.__notes__
    names = {
        (event.flow, event.run_id) for event in flows.events if isinstance(event, events.Event)
    }
    assert names == {("orders", "x"), ("orders", "y")}
    starts = [event for event in flows.events if isinstance(event, RunStarted)]
    assert [event.number for event in starts] == [1, 2, 2, 1]


def test_sizes_are_those_of_the_files(any_runner: Runner, flows: FlowFactory) -> None:
    """A snapshot event has the size of the file."""
    sizes: list[tuple[int, int]] = []

    def hook(event: events.Event) -> None:
        if isinstance(event, SnapshotWritten):
            sizes.append((event.bytes, flows.path.stat().st_size))

    cp = CheckpointFlow(flows.path, hooks=[hook])
    cp.add_step(name="grow")(lambda state: state.update(big=bytes(100_000)))
    any_runner(cp)
    assert [reported for reported, _ in sizes] == [size for _, size in sizes]
    assert sizes[1][0] > 100_000


def test_first_snapshot_in_a_database_has_an_event(
    any_runner: Runner, flows: FlowFactory, tmp_path: Path
) -> None:
    """The snapshot that is stored with the lease of a new run has an event like any other."""
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite", hooks=[flows.events.append])
    cp.add_step(name="a")(lambda state: None)
    with closing(cp.handler):
        any_runner(cp, {"n": 1})
    assert [type(event).__name__ for event in flows.events] == [
        *("RunStarted", "SnapshotWritten", "StepStarted", "StepFinished"),
        *("SnapshotWritten", "RunFinished"),
    ]
    first, last = (event for event in flows.events if isinstance(event, SnapshotWritten))
    assert (first.position, last.position) == (0, 0)
    assert 0 < first.bytes <= last.bytes
    assert first.seconds > 0


def test_hooks_are_called_in_order(any_runner: Runner, flows: FlowFactory) -> None:
    """Sync and async hooks, and callable objects, get each event one after another."""
    received: list[tuple[str, str]] = []

    def first(event: events.Event) -> None:
        received.append(("first", type(event).__name__))

    async def second(event: events.Event) -> None:
        await asyncio.sleep(0)
        received.append(("second", type(event).__name__))

    class Third:
        def __call__(self, event: events.Event) -> object:
            return second(event)

    cp = CheckpointFlow(flows.path, hooks=[first, second, Third()])
    cp.add_step(name="a")(lambda state: None)
    any_runner(cp)
    assert [who for who, _ in received] == ["first", "second", "second"] * (len(received) // 3)
    assert [what for who, what in received if who == "first"] == [
        *("RunStarted", "SnapshotWritten", "StepStarted", "StepFinished"),
        *("SnapshotWritten", "RunFinished"),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError, StopIteration])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_hook_that_fails_is_logged(
    kind: type[BaseException],
    *,
    asynchronous: bool,
    any_runner: Runner,
    flows: FlowFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception of a hook is logged with its traceback. The other hooks and the run continue.

    A hook can raise CancelledError although the run is not cancelled. It does if it awaits a task
    that was cancelled.
    """

    def hook(event: object) -> None:
        raise kind("broken hook")

    async def ahook(event: object) -> None:
        await asyncio.sleep(0)
        hook(event)

    broken: Callable[..., Any] = ahook if asynchronous else hook
    cp = CheckpointFlow(flows.path, hooks=[broken, flows.events.append])
    cp.add_step(name="a")(lambda state: state.update(done=True))
    assert any_runner(cp) == {"done": True}
    assert len(flows.events) == 6
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 6
    assert {record.name for record in errors} == {LOGGER}
    assert all(record.exc_info and "broken hook" in caplog.text for record in errors)
    assert flows.stored()["done"]


def test_hook_that_fails_hides_no_failure(any_runner: Runner, flows: FlowFactory) -> None:
    """When a step and then the hook fail, the step's exception is raised with its note."""

    def hook(event: object) -> None:
        raise RuntimeError("broken hook")

    error = ValueError("the step's own")
    cp = CheckpointFlow(flows.path, hooks=[hook])

    @cp.add_step()
    def fail(state: State) -> None:
        raise error

    with pytest.raises(ValueError, match="own") as info:
        any_runner(cp)
    assert info.value is error
    assert flows.header().status == "failed"


EVENTS: list[events.Event] = [
    StepStarted(flow="f", run_id="r", number=1, step="a", index=0, of=2, attempt=1),
    StepLoaded(flow="f", run_id="r", number=1, step="a", index=0, of=2, seconds=0.5),
    StepFinished(
        flow="f",
        run_id=None,
        number=1,
        step="a",
        index=0,
        of=2,
        seconds={"step": 0.5},
        result_ignored=False,
    ),
    SnapshotWritten(flow="f", run_id="r", number=1, position=1, bytes=100, seconds=0.5),
    RunFinished(flow="f", run_id="r", number=1, status="paused", position=0, seconds=0.5),
    StepPaused(flow="f", run_id="r", number=1, step="a", index=0, of=2, reason="waits"),
]


@pytest.mark.parametrize("event", EVENTS, ids=[type(event).__name__ for event in EVENTS])
def test_events_are_frozen_values(event: events.Event) -> None:
    """Events are immutable, equal to their copies, and can be sent to another process."""
    with pytest.raises(FrozenInstanceError):
        event.flow = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == copy.copy(event) == event
    assert {field.name for field in fields(event)} >= {"flow", "run_id", "number"}


@pytest.mark.parametrize("kind", [AttemptFailed, StepFailed], ids=lambda kind: kind.__name__)
def test_events_with_an_error_are_frozen_and_sent(kind: Any) -> None:  # noqa: ANN401
    """Events that hold the user's exception are immutable and can be sent as well."""
    facts: dict[str, Any] = {"part": "step", "attempt": 2, "seconds": 0.5}
    facts |= {"cancelled": False} if kind is StepFailed else {}
    error = OSError(5, "broken")
    where: dict[str, Any] = {"flow": "f", "run_id": "r", "number": 1, "index": 0, "of": 2}
    event: Any = kind(**where, step="a", error=error, **facts)
    with pytest.raises(FrozenInstanceError):
        event.flow = "other"
    again = pickle.loads(pickle.dumps(event))
    assert (type(again.error), again.error.args) == (OSError, (5, "broken"))
    assert replace(again, error=error) == event


def test_parts_of_an_event_are_mistaken_for_no_other(tmp_path: Path) -> None:
    """No kind of event is a subclass of another, so that hooks can use isinstance."""
    kinds: list[type[object]] = [RunStarted, StepStarted, StepLoaded, StepFinished]
    kinds += [SnapshotWritten, StepFailed, RunFinished, AttemptFailed, StepPaused]
    pairs = [(a, b) for a in kinds for b in kinds if a is not b and issubclass(a, b)]
    assert pairs == []
