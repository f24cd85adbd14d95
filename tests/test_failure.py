"""When a part breaks: what comes out, what stays stored, and how the next run goes on."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, Door, Lab, State, add_with, make_stored, notes_of

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable


class Mine(BaseException):
    """A user's own, outside of Exception."""


class Several(Exception):  # noqa: N818
    """A user's own that takes several arguments."""

    def __init__(self, code: int, reason: str, *, hint: str) -> None:
        """Keep them, and give the base another text."""
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.hint = hint


class Mute(Exception):  # noqa: N818
    """One that cannot be turned into text."""

    def __str__(self) -> str:
        """Fail."""
        message = "no words"
        raise RuntimeError(message)


@dataclass(frozen=True)
class Frozen(Exception):  # noqa: N818
    """One that takes no attributes, and so no notes."""

    code: int


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
both_colours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])

DEEP = {"deep": {"list": [1, {"x": [2]}], "set": {3}}, "gone": 1}


def break_in_place(lab: Lab, part: str, error: BaseException) -> CheckpointFlow:
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

    loader: Callable[..., Any] = aload if lab.asynchronous else load
    other: Callable[..., Any] = aruin if lab.asynchronous else ruin
    cp = lab.flow("a")
    add_with(cp, "b", part, loader if part == "load" else other)
    lab.add(cp, "c")
    return cp


def fail(door: Door, cp: CheckpointFlow, error: BaseException, state: State | None = None) -> None:
    """Run a flow that must raise this very object."""
    with pytest.raises(type(error)) as info:
        door(cp, state, "always")
    assert info.value is error


@every_error
@every_part
@both_colours
def test_very_object_comes_out_with_one_note(
    kind: str, part: str, *, asynchronous: bool, every_door: Door, lab: Lab
) -> None:
    """What a part raises comes out as it is, with a note of where it was and how to go on."""
    lab.asynchronous = asynchronous
    error = ERRORS[kind]()
    lab.faults[f"{part} b"] = error
    fail(every_door, lab.flow(), error)
    notes = getattr(error, "__notes__", [])
    assert len(notes) == 1
    assert re.search(r"\b2 of 3\b", notes[0])
    assert re.search(rf"\b{part}", notes[0])
    assert "'b'" in notes[0]
    assert str(lab.path) in notes[0]
    assert re.search(r"\brun again\b|\bresume", notes[0], re.IGNORECASE)


@every_error
@every_part
@both_colours
def test_stored_state_stays_as_on_entry(
    kind: str, part: str, *, asynchronous: bool, door: Door, lab: Lab
) -> None:
    """Whatever a broken part changed in place, deep inside too, is not stored."""
    lab.asynchronous = asynchronous
    given: State = {"deep": {"list": [1, {"x": [2]}], "set": {3}}, "gone": 1}
    error = ERRORS[kind]()
    fail(door, break_in_place(lab, part, error), error, given)
    expected = {**DEEP, "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert lab.stored() == expected


@every_error
@every_part
def test_header_tells_the_failure_as_text(kind: str, part: str, door: Door, lab: Lab) -> None:
    """The header holds step, part, type, message, traceback, time and duration, as text."""
    error = ERRORS[kind]()
    lab.faults[f"{part} b"] = error
    fail(door, lab.flow(), error)
    header = lab.header()
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
@both_colours
def test_next_run_resumes_at_the_broken_part(
    kind: str, part: str, *, asynchronous: bool, door: Door, lab: Lab
) -> None:
    """The next run begins with the broken step; after it has finished, at the beginning."""
    lab.asynchronous = asynchronous
    error = ERRORS[kind]()
    lab.faults[f"{part} b"] = error
    fail(door, lab.flow(), error, {"who": "given"})
    lab.faults.clear()
    lab.log.clear()
    result = door(lab.flow(), {"who": "ignored"})
    assert lab.ran() == ["b", "c"]
    assert (result["who"], result["trail"]) == ("given", list(NAMES))
    assert (lab.header().status, lab.header().failure) == ("finished", None)
    door(lab.flow())
    assert lab.ran() == ["b", "c", *NAMES]


@pytest.mark.parametrize("position", [0, 1, 2])
@every_part
def test_any_step_can_break_again_and_again(part: str, position: int, door: Door, lab: Lab) -> None:
    """Failures in a row change nothing: the state stays as on entry to the step."""
    name = NAMES[position]
    stored: list[State] = []
    for attempt in range(3):
        error = OSError(f"attempt {attempt}")
        lab.faults[f"{part} {name}"] = error
        fail(door, lab.flow(), error, {"who": "given"})
        stored.append(lab.stored())
        assert lab.header().failure is not None
        assert f"attempt {attempt}" in str(lab.header().failure)
    assert stored[0]["checkpoint_index"] == position
    assert stored[0].get("trail", []) == list(NAMES[:position])
    assert stored[1:] == stored[:1] * 2


def test_failure_of_the_saver_repeats_the_step(door: Door, lab: Lab) -> None:
    """A step whose saver broke is not done: it runs again, at least once in all."""
    error = OSError("disk full")
    lab.faults["save c"] = error
    fail(door, lab.flow(), error)
    assert "disk full" not in str(lab.stored())
    lab.faults.clear()
    door(lab.flow())
    assert lab.ran() == ["a", "b", "c", "c"]


def test_error_that_cannot_speak(every_door: Door, lab: Lab) -> None:
    """An exception whose text cannot be made comes out as it is, and is recorded."""
    error = Mute()
    lab.faults["step b"] = error
    fail(every_door, lab.flow(), error)
    assert str(lab.path) in notes_of(error)
    failure = lab.header().failure
    assert failure is not None
    assert failure.type.endswith("Mute")


def test_error_that_takes_no_note(every_door: Door, lab: Lab) -> None:
    """An exception that refuses attributes comes out as it is, and is recorded."""
    error = Frozen(5)
    lab.faults["step b"] = error
    fail(every_door, lab.flow(), error)
    failure = lab.header().failure
    assert failure is not None
    assert failure.type.endswith("Frozen")


def test_cause_context_and_older_notes_stay(door: Door, lab: Lab) -> None:
    """What the user attached to the exception is kept, before ours."""
    error = OSError("broken")
    error.__cause__ = ValueError("the cause")
    error.add_note("the user's note")
    lab.faults["step b"] = error
    fail(door, lab.flow(), error)
    assert str(error.__cause__) == "the cause"
    assert notes_of(error).startswith("the user's note\n")
    failure = lab.header().failure
    assert failure is not None
    assert "the cause" in failure.traceback


def test_failure_in_a_flow_inside_a_step(every_door: Door, lab: Lab) -> None:
    """An exception that passes through two flows has a note of each."""
    inner = Lab(lab.path.with_name("inner.pkl"))
    inner.faults["step b"] = error = OSError("deep inside")
    cp = CheckpointFlow(lab.path)

    @cp.add_step()
    def outer(state: State) -> None:
        inner.flow().run()

    fail(every_door, cp, error)
    first, second = error.__notes__
    assert str(inner.path) in first
    assert str(lab.path) in second


async def test_cancelled_task_is_stored_as_cancelled(lab: Lab) -> None:
    """A run that is cancelled from outside is no failed one, and resumes where it was."""
    started = asyncio.Event()
    cp = lab.flow("a")

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
    assert (lab.header().status, lab.header().position) == ("cancelled", 1)
    result = await lab.flow("a", "b").arun()
    assert lab.ran() == ["a", "b"]
    assert (result["who"], "half" in result) == ("given", False)


def wall_up(lab: Lab) -> None:
    """Put a file in the place of the directory that holds the snapshot."""
    lab.path.parent.rename(lab.path.parent.with_name("moved"))
    lab.path.parent.write_text("a wall", encoding="utf-8")


@pytest.mark.leaves_files
@every_part
def test_second_error_while_recording_is_only_a_note(part: str, every_door: Door, lab: Lab) -> None:
    """If the failure cannot be recorded, the first exception comes out and tells of the second."""
    lab = Lab(lab.path.parent / "place" / "checkpoint.pkl")
    error = ValueError("the first error")

    def break_all(state: State, data: State | None = None) -> None:
        wall_up(lab)
        raise error

    def break_load(state: State) -> State:
        break_all(state)
        return {}

    cp = lab.flow("a")
    add_with(cp, "b", part, break_load if part == "load" else break_all)
    fail(every_door, cp, error)
    notes = notes_of(error)
    assert re.search(r"\b2 of 2\b", notes)
    assert "could not" in notes or "failed" in notes
    assert re.search(r"StorageError|Not a directory|NotADirectoryError|File exists", notes)


@pytest.mark.leaves_files
def test_run_goes_on_from_what_a_second_error_left(door: Door, lab: Lab) -> None:
    """Once the place is back, the run resumes from the snapshot before the failure."""
    lab = Lab(lab.path.parent / "place" / "checkpoint.pkl")
    cp = lab.flow("a")

    @cp.add_step(name="b")
    def break_all(state: State) -> None:
        wall_up(lab)
        raise error

    error = ValueError("the first error")
    fail(door, cp, error)
    lab.path.parent.unlink()
    lab.path.parent.with_name("moved").rename(lab.path.parent)
    door(lab.flow("a", "b"))
    assert lab.ran() == ["a", "b"]


def test_failed_run_can_be_stopped_and_restarted_anywhere(door: Door, lab: Lab) -> None:
    """After a failure, checkpoint= and until= still choose the steps."""
    make_stored(lab, "failed at 1")
    door(lab.flow(), checkpoint="a", until="b")
    assert lab.ran() == ["a", "b"]
    assert lab.header().status == "stopped"
