"""A pause may be due at a time, from which recovery executes the step again."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import InvalidTypeError, InvalidValueError, Pause
from aiocheckpoint.events import StepPaused
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def test_time_is_stored_and_listed(runs: Runs, runner: Runner) -> None:
    """The header has the time, in lists too, until the run goes on. The event has it as well."""
    cp = runs.flow("a")

    @cp.add_step()
    def wait(state: dict[str, Any]) -> None:
        state["looks"] = state.get("looks", 0) + 1
        if "answer" not in state:
            raise Pause("until noon", due=NOON)

    runner(cp, {"n": 1}, run_id="x")
    header = cp.handler.header("x")
    assert (header.status, header.pause, header.due) == ("paused", "until noon", NOON.timestamp())
    assert [one.due for one in cp.runs("paused")] == [NOON.timestamp()]
    (event,) = [one for one in runs.events if isinstance(one, StepPaused)]
    assert event.due == NOON.timestamp()
    for now, expected in ((NOON.timestamp() - 1, []), (NOON.timestamp(), ["x"])):
        query = Query(due_before=now, unowned=True)
        assert [one.run_id for one in cp.handler.runs(query)] == expected
    patched = runner.do(cp, "patch", {"n": 2}, run_id="x")
    assert (patched.status, patched.due, patched.pause) == ("paused", header.due, "until noon")
    assert runner(cp, run_id="x", update={"answer": 1})["n"] == 2
    assert cp.handler.header("x").due is None


def test_time_of_the_last_pause_counts(runs: Runs, runner: Runner) -> None:
    """A step that is executed again and pauses without a time is never due."""
    cp, times = runs.flow("a"), [NOON, None]

    @cp.add_step()
    def wait(_state: dict[str, Any]) -> None:
        raise Pause(due=times.pop(0))

    runner(cp, {}, run_id="x")
    runner(cp, run_id="x")
    header = cp.handler.header("x")
    assert (header.status, header.due, header.pause_number) == ("paused", None, 1)


def test_argument() -> None:
    """A timedelta counts from the pause on. Anything without a clear meaning is refused."""
    before = time.time()
    due = Pause("", timedelta(minutes=1)).due
    assert due is not None
    assert before + 60 <= due <= time.time() + 60
    assert Pause().due is None
    with pytest.raises(InvalidValueError, match="without a zone"):
        Pause(due=datetime(2024, 2, 29))  # noqa: DTZ001 - that is the point
    wrong: Any = 60
    with pytest.raises(InvalidTypeError, match="not a int"):
        Pause(due=wrong)


def test_crosses_a_process_boundary() -> None:
    """A pickled pause has its time still."""
    copied = pickle.loads(pickle.dumps(Pause("wait", NOON)))
    assert (copied.reason, copied.due) == ("wait", NOON.timestamp())


def test_time_of_a_strange_subclass(runs: Runs, runner: Runner) -> None:
    """A subclass that has put something else in the place of the time pauses without one."""

    class Odd(Pause):
        def __init__(self) -> None:
            super().__init__("odd")
            self.due = float("nan")

    cp = runs.flow("a")

    @cp.add_step()
    def wait(_state: dict[str, Any]) -> None:
        raise Odd

    runner(cp, {}, run_id="x")
    assert (cp.handler.header("x").status, cp.handler.header("x").due) == ("paused", None)
