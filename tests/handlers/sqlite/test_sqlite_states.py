"""States of every kind in a database, and the snapshots that `keep=` retains there."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from run_factories import Runs, sql
from support import NAMES, Runner, State
from unserializable_objects import UNSERIALIZABLE

from aiocheckpoint import UnserializableStateError
from aiocheckpoint.handlers.sqlite._place import SqlitePlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import CheckpointFlow

STEPS = ("a", "b", "c", "d")


def nested(levels: int) -> list[Any]:
    """Make nested lists."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def shared() -> State:
    """Make a state in which one list has two references, and a dict contains itself."""
    rows = [1, 2]
    made: State = {"one": rows, "other": {"rows": rows}}
    made["self"] = made["other"]
    made["other"]["self"] = made["other"]
    return made


def add(number: int) -> Callable[[int], int]:
    """Make a function that pickle cannot name."""
    return lambda other: number + other


NOW = dt.datetime(2026, 11, 25, 10, 30, tzinfo=dt.UTC)
STATES: dict[str, State] = {
    "plain": {"n": 1, "t": "é\0\n", "b": b"\0\xff", "f": 0.1, "big": 1 << 200, "none": None},
    "odd keys": {"": 1, 5: 2, (1, "a"): 3, None: 4, "\ud800": 5},  # type: ignore[dict-item]
    "dates": {"now": NOW, "day": NOW.date(), "ago": dt.timedelta(1), "d": decimal.Decimal("0.10")},
    "sets": {"s": {1, 2}, "f": frozenset({"a"}), "t": (1, (2,)), "c": 1 + 2j, "r": range(5)},
    "deep": {"deep": nested(300)},
}


@pytest.mark.parametrize("kind", STATES)
def test_states_come_back(kind: str, database: Runs, runner: Runner) -> None:
    """The next process reads the state as it was after the step."""
    given = dict(STATES[kind])
    runner(database.flow("a", "b"), given, run_id="x", until="a")
    stored = runner.do(database.flow(), "read", "x")
    assert stored == {**STATES[kind], "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert list(map(type, stored.values()))[: len(STATES[kind])] == [
        *map(type, STATES[kind].values())
    ]


def test_arrays(database: Runs, runner: Runner) -> None:
    """Arrays come back with their types, shapes and values."""
    arrays = {"m": np.arange(12.0).reshape(3, 4), "t": np.array(["2026-11-25"], "datetime64[D]")}
    runner(database.flow(), dict(arrays), run_id="x", until="a")
    stored = runner.do(database.flow(), "read", "x")
    for name, array in arrays.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)


def test_shared_references(database: Runs, runner: Runner) -> None:
    """One object with two references is one object afterwards, also in cycles."""
    runner(database.flow(), shared(), run_id="x", until="a")
    stored = runner.do(database.flow(), "read", "x")
    assert stored["one"] is stored["other"]["rows"]
    assert stored["self"] is stored["other"]["self"] is stored["other"]


def test_functions(database: Runs, runner: Runner) -> None:
    """Functions that pickle cannot name are stored by value, between and after plain states."""
    cp = database.empty_flow()
    cp.add_step(name="plain")(lambda state: None)
    cp.add_step(name="code")(lambda state: state.update(f=add(2)))
    cp.add_step(name="call")(lambda state: state.update(n=state["f"](3)))
    cp.add_step(name="drop")(lambda state: state.pop("f") and None)
    runner(cp, {}, run_id="x", until="code")
    (header,) = runner.do(cp, "runs")
    assert (header.code, runner.do(cp, "read", "x")["f"](40)) == (True, 42)
    assert runner(cp, run_id="x") == {"n": 5}
    assert [header.code for header in runner.do(cp, "runs")] == [False]


async def test_large_state(database: Runs) -> None:
    """Thirty megabytes are stored and read back, and the small state after them is small."""
    cp, large = database.empty_flow(), b"0123456789" * 3_000_000
    cp.add_step(name="fill")(lambda state: state.update(large=large))
    cp.add_step(name="drop")(lambda state: state.update(large=len(state["large"])))
    await cp.arun({}, run_id="x", until="fill")
    assert sql(database.path, "SELECT length(payload) > 30000000 FROM runs") == [(1,)]
    assert (await cp.aread("x"))["large"] == large
    assert await cp.arun(run_id="x") == {"large": 30_000_000}
    assert sql(database.path, "SELECT length(payload) < 1000 FROM runs") == [(1,)]


@pytest.mark.parametrize("kind", sorted(UNSERIALIZABLE))
async def test_what_cannot_be_stored(kind: str, database: Runs) -> None:
    """The error names the path of a value that cannot be stored. The stored state stays."""
    cp = database.empty_flow()
    cp.add_step(name="a")(lambda state: None)

    with ExitStack() as stack:

        @cp.add_step(thread=False)
        def b(state: State) -> None:
            state["inner"] = {"bad": UNSERIALIZABLE[kind](stack)}

        with pytest.raises(UnserializableStateError) as info:
            await cp.arun({"n": 1}, run_id="x")
        assert info.value.step == "b"
        # Values nested too deeply are so from the top.
        whole = 'state["inner"]' if "nested" in kind else 'state["inner"]["bad"]'
        assert info.value.offenders[0][0].startswith(whole)
        assert await cp.aread("x") == {"n": 1, "checkpoint_index": 1}


def test_neighbours_of_an_unstorable_state(database: Runs) -> None:
    """A state that cannot be stored breaks its own run only, in one transaction with others."""
    cp = database.empty_flow()

    @cp.add_step()
    async def fill(state: State) -> None:
        state["f"] = (i for i in "a") if state["n"] == 7 else state["n"]

    async def run_all() -> list[State | BaseException]:
        runs = [cp.arun({"n": n}, run_id=f"{n}") for n in range(20)]
        return await asyncio.gather(*runs, return_exceptions=True)

    results = asyncio.run(run_all())
    assert [type(one) for one in results].count(dict) == 19
    assert isinstance(results[7], UnserializableStateError)
    assert cp.read("7") == {"n": 7, "checkpoint_index": 0}


# --- kept snapshots


def kept(cp: CheckpointFlow) -> list[tuple[int, list[str]]]:
    """Position and trail of each kept snapshot of "x" and of the newest, oldest first."""
    found: list[tuple[int, list[str]]] = []
    for name in (*reversed(cp.handler.kept("x")), None):
        with cp.handler.stored("x", name) as one:
            found.append((one.header.position, one.state().get("trail", [])))
    return found


def test_three_are_kept(database: Runs, runner: Runner) -> None:
    """With `keep=3` the newest snapshot and the two before it are kept."""
    cp = database.flow(*STEPS, keep=3)
    runner(cp, {}, "always", run_id="x")
    assert kept(cp) == [(2, ["a", "b"]), (3, ["a", "b", "c"]), (0, list(STEPS))]
    assert kept(database.flow(*STEPS, keep=1)) == [(0, list(STEPS))]


def test_all_of_the_last_passage_are_kept(database: Runs, runner: Runner) -> None:
    """With `keep="all"` all snapshots of the last run are kept, and none of the run before it."""
    cp = database.flow(*STEPS, keep="all")
    for _ in range(2):
        runner(cp, {}, "always", run_id="x")
        assert kept(cp) == [*((n, list(STEPS[:n])) for n in range(4)), (0, list(STEPS))]
    assert sql(database.path, "SELECT DISTINCT number FROM kept") == [(2,)]


@pytest.mark.parametrize("step", STEPS)
def test_state_on_entry(step: str, database: Runs, runner: Runner) -> None:
    """A run repeated from a step has the state on entry to that step."""
    cp = database.flow(*STEPS, keep="all")
    whole = runner(cp, {"n": 1}, "always", run_id="x")
    database.log.clear()
    assert runner(cp, None, "always", step, run_id="x") == whole
    assert database.ran() == list(STEPS[STEPS.index(step) :])
    assert cp.handler.header("x").number == 1


def test_failures_take_no_space(database: Runs, runner: Runner) -> None:
    """The record of a failing step replaces the one before, and displaces no other state."""
    cp = database.flow(*STEPS, keep=3)
    database.faults["step c"] = ValueError("not yet")
    for _ in range(4):
        with suppress(ValueError):
            runner(cp, {}, "always", run_id="x")
        assert [position for position, _ in kept(cp)] == [0, 1, 2]


def test_kept_of_one_run_are_none_of_another(database: Runs, runner: Runner) -> None:
    """Deleting a run deletes its kept snapshots, and no other run's."""
    cp = database.flow(keep="all")
    for run_id in ("x", "y"):
        runner(cp, {}, run_id=run_id)
    runner.do(cp, "delete", "y")
    assert (len(cp.handler.kept("x")), cp.handler.kept("y")) == (len(NAMES), [])
    runner(cp, {}, run_id="y", until="a")
    assert len(cp.handler.kept("y")) == 1


def test_values_beyond_what_sqlite_takes(
    database: Runs, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error for a snapshot too large for a row says so, and the run stays as it was.

    SQLite's limit of a thousand million bytes is too large for a test, so the test lowers it.
    """
    monkeypatch.setattr(SqlitePlace, "largest_payload", 1_000_000)
    cp = database.empty_flow()
    cp.add_step(name="a")(lambda state: state.update(large=bytes(2_000_000)))
    with pytest.raises(OSError, match="SQLite holds 1000000: use the handler 'local'"):
        runner(cp, {"n": 1}, run_id="x")
    assert runner.do(cp, "read", "x") == {"n": 1, "checkpoint_index": 0}
