"""A part that fails: the exception raised, the snapshot stored, and the next run."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, FlowFactory, Runner, State, add_with, fail, make_stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import CheckpointFlow


class Mine(BaseException):
    """A user's own exception outside of Exception."""


class Several(Exception):  # noqa: N818
    """A user's own exception that takes several arguments."""

    def __init__(self, code: int, reason: str, *, hint: str) -> None:
        """Keep the arguments, and give the base class another text."""
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.hint = hint


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("bad value"),
    "KeyError": lambda: KeyError("missing key"),
    "OSError": lambda: OSError(5, "Input/output error", "some file"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "Mine": lambda: Mine("own kind"),
    "Several": lambda: Several(7, "too many", hint="fewer"),
    "ExceptionGroup": lambda: ExceptionGroup("many", [ValueError("one"), KeyError("two")]),
    "CancelledError": lambda: asyncio.CancelledError("by hand"),
    "TimeoutError": TimeoutError,
}
CANCELLING = {"CancelledError", "KeyboardInterrupt"}
every_error = pytest.mark.parametrize("kind", ERRORS)
every_part = pytest.mark.parametrize("part", ["load", "step", "save"])
sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])

DEEP = {"deep": {"list": [1, {"x": [2]}], "set": {3}}, "gone": 1}


def break_part(flows: FlowFactory, part: str, error: BaseException) -> CheckpointFlow:
    """Make a flow whose step b changes the state deep inside, then raises."""

    def ruin(state: State, data: State | None = None) -> None:
        state["deep"]["list"][1]["x"].append("half-changed")
        state["deep"]["set"].clear()
        state["deep"]["new"] = True
        state.pop("gone")
        raise error

    async def aruin(state: State, data: State | None = None) -> None:
        await asyncio.sleep(0)
        ruin(state, data)

    def load(state: State) -> State:
        ruin(state)
        return {}

    async def aload(state: State) -> State:
        await aruin(state)
        return {}

    loader: Callable[..., Any] = aload if flows.asynchronous else load
    other: Callable[..., Any] = aruin if flows.asynchronous else ruin
    cp = flows.flow("a")
    add_with(cp, "b", part, loader if part == "load" else other)
    flows.add(cp, "c")
    return cp


@every_error
@every_part
@sync_and_async
def test_very_object_comes_out_with_one_note(
    kind: str, part: str, *, asynchronous: bool, any_runner: Runner, flows: FlowFactory
) -> None:
    """The exception of a part is raised itself, with a note of the step and of the resume."""
    flows.asynchronous = asynchronous
    error = ERRORS[kind]()
    flows.faults[f"{part} b"] = error
    fail(any_runner, flows.flow(), error)
    notes = getattr(error, "__notes__", [])
    assert len(notes) == 1
    assert re.search(r"\b2 of 3\b", notes[0])
    assert re.search(rf"\b{part}", notes[0])
    assert "'b'" in notes[0]
    assert str(flows.path) in notes[0]
    assert re.search(r"\brun again\b|\bresume", notes[0], re.IGNORECASE)


@every_error
@every_part
@sync_and_async
def test_stored_state_stays_as_on_entry(
    kind: str, part: str, *, asynchronous: bool, runner: Runner, flows: FlowFactory
) -> None:
    """Changes that a failed part made in place, even deep inside, are not stored."""
    flows.asynchronous = asynchronous
    given: State = {"deep": {"list": [1, {"x": [2]}], "set": {3}}, "gone": 1}
    error = ERRORS[kind]()
    fail(runner, break_part(flows, part, error), error, given)
    expected = {**DEEP, "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert flows.stored() == expected


@every_error
@every_part
def test_header_holds_the_failure_as_text(
    kind: str, part: str, runner: Runner, flows: FlowFactory
) -> None:
    """The header holds step, part, type, message, traceback, time and duration, as text."""
    error = ERRORS[kind]()
    flows.faults[f"{part} b"] = error
    fail(runner, flows.flow(), error)
    header = flows.header()
    assert header.status == ("cancelled" if kind in CANCELLING else "failed")
    assert header.position == 1
    failure = header.failure
    assert failure is not None
    assert (failure.step, failure.part) == ("b", part)
    assert failure.type.rsplit(".", maxsplit=1)[-1] == kind
    assert failure.message == str(error)
    assert "raise fault" in failure.traceback
    assert kind in failure.traceback
    assert failure.at
    assert failure.seconds >= 0


@every_error
@every_part
@sync_and_async
def test_next_run_resumes_at_the_broken_part(
    kind: str, part: str, *, asynchronous: bool, runner: Runner, flows: FlowFactory
) -> None:
    """The next run begins with the failed step. After it has finished, the next begins anew."""
    flows.asynchronous = asynchronous
    error = ERRORS[kind]()
    flows.faults[f"{part} b"] = error
    fail(runner, flows.flow(), error, {"who": "given"})
    flows.faults.clear()
    flows.log.clear()
    result = runner(flows.flow(), {"who": "given"})
    assert flows.ran() == ["b", "c"]
    assert (result["who"], result["trail"]) == ("given", list(NAMES))
    assert (flows.header().status, flows.header().failure) == ("finished", None)
    runner(flows.flow())
    assert flows.ran() == ["b", "c", *NAMES]


@pytest.mark.parametrize("position", [0, 1, 2])
@every_part
def test_any_step_can_break_again_and_again(
    part: str, position: int, runner: Runner, flows: FlowFactory
) -> None:
    """Several failures in a row change nothing: the state stays as on entry to the step."""
    name = NAMES[position]
    stored: list[State] = []
    for attempt in range(3):
        error = OSError(f"attempt {attempt}")
        flows.faults[f"{part} {name}"] = error
        fail(runner, flows.flow(), error, {"who": "given"})
        stored.append(flows.stored())
        assert flows.header().failure is not None
        assert f"attempt {attempt}" in str(flows.header().failure)
    assert stored[0]["checkpoint_index"] == position
    assert stored[0].get("trail", []) == list(NAMES[:position])
    assert stored[1:] == stored[:1] * 2


def test_failure_of_the_saver_repeats_the_step(runner: Runner, flows: FlowFactory) -> None:
    """A step whose saver failed is not done. It runs again, at least once in all."""
    error = OSError("disk full")
    flows.faults["save c"] = error
    fail(runner, flows.flow(), error)
    assert "disk full" not in str(flows.stored())
    flows.faults.clear()
    runner(flows.flow())
    assert flows.ran() == ["a", "b", "c", "c"]


async def test_cancelled_task_is_stored_as_cancelled(flows: FlowFactory) -> None:
    """A run cancelled from outside is not failed, and resumes at its step."""
    started = asyncio.Event()
    cp = flows.flow("a")

    @cp.add_step(name="b")
    async def wait(state: State) -> None:
        state["half"] = True
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(cp.arun({"who": "given"}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (flows.header().status, flows.header().position) == ("cancelled", 1)
    result = await flows.flow("a", "b").arun()
    assert flows.ran() == ["a", "b"]
    assert (result["who"], "half" in result) == ("given", False)


@pytest.mark.parametrize("checkpoint", [0, "c"])
def test_run_moved_by_checkpoint_resumes_where_it_broke(
    checkpoint: int | str, runner: Runner, flows: FlowFactory
) -> None:
    """A run moved by `checkpoint=` that fails at once resumes at that step."""
    make_stored(flows, "failed at 1")
    name = "a" if checkpoint == 0 else "c"
    error = OSError("not yet")
    flows.faults[f"load {name}"] = error
    with pytest.raises(OSError, match="not yet"):
        runner(flows.flow(), checkpoint=checkpoint)
    flows.faults.clear()
    assert flows.header().position == NAMES.index(name)
    assert flows.header().status == "failed"
    flows.log.clear()
    runner(flows.flow())
    assert flows.ran() == list(NAMES[NAMES.index(name) :])


def test_failed_run_can_be_stopped_and_restarted_anywhere(
    runner: Runner, flows: FlowFactory
) -> None:
    """After a failure, `checkpoint=` and `until=` still choose the steps."""
    make_stored(flows, "failed at 1")
    runner(flows.flow(), checkpoint="a", until="b")
    assert flows.ran() == ["a", "b"]
    assert flows.header().status == "stopped"
