"""Exceptions that are hard to handle, and a second error on top of the first."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import Self

import pytest
from support import FlowFactory, Runner, State, add_with, fail, notes_of

from aiocheckpoint import CheckpointFlow


class Mute(Exception):  # noqa: N818
    """An exception that cannot be turned into text."""

    def __str__(self) -> str:
        """Fail."""
        message = "no words"
        raise RuntimeError(message)


@dataclass(frozen=True)
class Frozen(Exception):  # noqa: N818
    """An exception that refuses attributes, and so notes."""

    code: int


def test_error_that_cannot_speak(any_runner: Runner, flows: FlowFactory) -> None:
    """An exception whose text cannot be made is raised itself, and is recorded."""
    error = Mute()
    flows.faults["step b"] = error
    fail(any_runner, flows.flow(), error)
    assert str(flows.path) in notes_of(error)
    failure = flows.header().failure
    assert failure is not None
    assert failure.type.endswith("Mute")


def test_error_that_takes_no_note(any_runner: Runner, flows: FlowFactory) -> None:
    """An exception that refuses attributes is raised itself, and is recorded."""
    error = Frozen(5)
    flows.faults["step b"] = error
    fail(any_runner, flows.flow(), error)
    failure = flows.header().failure
    assert failure is not None
    assert failure.type.endswith("Frozen")


class Keen(Exception):  # noqa: N818
    """An exception with a method of its own where Python has one."""

    def with_traceback(self, tb: object) -> Self:
        """Fail."""
        raise RuntimeError("not this way")


def test_error_with_another_with_traceback(any_runner: Runner, flows: FlowFactory) -> None:
    """An exception whose class overrides `with_traceback` is raised itself, also as a cause."""
    error: Exception = Keen()
    flows.faults["step b"] = error
    fail(any_runner, flows.flow(), error)
    error = ValueError()
    error.__cause__ = Keen()
    flows.faults["step b"] = error
    fail(any_runner, flows.flow(), error)


def test_error_of_many_words(runner: Runner, flows: FlowFactory) -> None:
    """Of a text of megabytes the last 50,000 characters are recorded. The exception keeps all."""
    words = "".join(f"{number} " for number in range(300_000))
    error = ValueError(words)
    flows.faults["step b"] = error
    fail(runner, flows.flow(), error)
    assert str(error) == words
    failure = flows.header().failure
    assert failure is not None
    assert failure.message == words[-50_000:]
    assert len(failure.traceback) == 50_000
    assert words[-40_000:] in failure.traceback
    assert flows.path.stat().st_size < 110_000


def test_cause_context_and_older_notes_stay(runner: Runner, flows: FlowFactory) -> None:
    """The exception keeps the user's own cause, context and notes, before ours."""
    error = OSError("broken")
    error.__cause__ = ValueError("the cause")
    error.add_note("the user's note")
    flows.faults["step b"] = error
    fail(runner, flows.flow(), error)
    assert str(error.__cause__) == "the cause"
    assert notes_of(error).startswith("the user's note\n")
    failure = flows.header().failure
    assert failure is not None
    assert "the cause" in failure.traceback


def test_failure_in_a_flow_inside_a_step(any_runner: Runner, flows: FlowFactory) -> None:
    """An exception that passes through two flows has a note of each."""
    inner = FlowFactory(flows.path.with_name("inner.pkl"))
    inner.faults["step b"] = error = OSError("deep inside")
    cp = CheckpointFlow(flows.path)

    @cp.add_step()
    def outer(state: State) -> None:
        inner.flow().run()

    fail(any_runner, cp, error)
    first, second = error.__notes__
    assert str(inner.path) in first
    assert str(flows.path) in second


def block_directory(flows: FlowFactory) -> None:
    """Put a file in the place of the snapshot's directory."""
    flows.path.parent.rename(flows.path.parent.with_name("moved"))
    flows.path.parent.write_text("a wall", encoding="utf-8")


@pytest.mark.leaves_files
@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_second_error_while_recording_is_only_a_note(
    part: str, any_runner: Runner, flows: FlowFactory
) -> None:
    """If the failure cannot be recorded, the first exception has a note of the second error."""
    flows = FlowFactory(flows.path.parent / "place" / "checkpoint.pkl")
    error = ValueError("the first error")

    def break_all(state: State, data: State | None = None) -> None:
        block_directory(flows)
        raise error

    def break_load(state: State) -> State:
        break_all(state)
        return {}

    cp = flows.flow("a")
    add_with(cp, "b", part, break_load if part == "load" else break_all)
    fail(any_runner, cp, error)
    notes = notes_of(error)
    assert re.search(r"\b2 of 2\b", notes)
    assert "is not recorded in the checkpoint" in notes
    assert "failed: StorageError: " in notes


@pytest.mark.leaves_files
def test_run_resumes_after_a_second_error(runner: Runner, flows: FlowFactory) -> None:
    """Once the directory is back, the run resumes from the snapshot before the failure."""
    flows = FlowFactory(flows.path.parent / "place" / "checkpoint.pkl")
    cp = flows.flow("a")

    @cp.add_step(name="b")
    def break_all(state: State) -> None:
        block_directory(flows)
        raise error

    error = ValueError("the first error")
    fail(runner, cp, error)
    flows.path.parent.unlink()
    flows.path.parent.with_name("moved").rename(flows.path.parent)
    runner(flows.flow("a", "b"))
    assert flows.ran() == ["a", "b"]


def test_directory_deleted_under_a_broken_step(any_runner: Runner, flows: FlowFactory) -> None:
    """A step that deletes the checkpoint's directory and raises still shows its own error."""
    flows = FlowFactory(flows.path.parent / "place" / "checkpoint.pkl")
    error = ValueError("the first error")
    cp = flows.flow("a")

    @cp.add_step(name="b")
    def delete_all(state: State) -> None:
        shutil.rmtree(flows.path.parent)
        raise error

    fail(any_runner, cp, error)
    assert re.search(r"\b2 of 2\b", notes_of(error))
    assert any_runner(flows.flow("a"))["trail"] == ["a"]


class Breaking:
    """A user's handler that fails after a number of writes."""

    def __init__(self, times: int) -> None:
        """Begin with nothing stored."""
        self.times = times
        self.kept: State = {}

    def read(self) -> State:
        """Give the stored state."""
        return self.kept

    def write(self, state: State) -> None:
        """Store the state, or fail."""
        self.times -= 1
        if self.times < 0:
            raise ConnectionError("the store is gone")
        self.kept = state


def test_own_handler_that_fails_leaves_the_step_undone(
    any_runner: Runner, flows: FlowFactory
) -> None:
    """The error of a user's own `write` is raised, and the step before it is not done."""
    handler = Breaking(2)
    with pytest.raises(ConnectionError, match="the store is gone"):
        any_runner(flows.flow(handler=handler))
    assert flows.ran() == ["a", "b"]
    assert handler.kept["checkpoint_index"] == 1
    handler.times = 9
    any_runner(flows.flow(handler=handler))
    assert flows.ran() == ["a", "b", "b", "c"]


def test_own_handler_that_fails_does_not_hide_the_first_error(
    any_runner: Runner, flows: FlowFactory
) -> None:
    """A step's error is raised even if the user's own handler cannot write any more."""
    handler = Breaking(2)
    flows.faults["step b"] = error = ValueError("the first error")
    fail(any_runner, flows.flow(handler=handler), error)
    assert handler.kept["checkpoint_index"] == 1


def test_stop_iteration_comes_out_of_run(flows: FlowFactory) -> None:
    """A StopIteration of a sync step is raised, and ends nothing silently."""
    error = StopIteration("the iterator was empty")
    flows.faults["step b"] = error
    with pytest.raises(StopIteration) as info:
        flows.flow().run()
    assert info.value is error
    assert (flows.header().status, flows.header().position) == ("failed", 1)


async def test_stop_iteration_comes_out_of_run_inside_a_loop(flows: FlowFactory) -> None:
    """A StopIteration is raised inside a running loop as well."""
    error = StopIteration("the iterator was empty")
    flows.faults["load b"] = error
    with pytest.raises(StopIteration) as info:
        flows.flow().run(None, "always")
    assert info.value is error


async def test_stop_iteration_under_arun_is_the_cause(flows: FlowFactory) -> None:
    """No coroutine can raise StopIteration. Python's RuntimeError has it as its cause."""
    error = StopIteration("the iterator was empty")
    flows.faults["step b"] = error
    with pytest.raises(RuntimeError) as info:
        await flows.flow().arun()
    assert info.value.__cause__ is error
    assert (flows.header().status, flows.header().position) == ("failed", 1)
