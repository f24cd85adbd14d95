"""States of every kind through a database, and what `keep=` keeps of them there."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from many import Runs, sql
from misfits import MISFITS
from support import NAMES, Door, State

from aiocheckpoint import UnserializableStateError
from aiocheckpoint.handlers.sqlite import _run_store as module

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import CheckpointFlow

STEPS = ("a", "b", "c", "d")


def nested(levels: int) -> list[Any]:
    """Make lists in lists."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


def shared() -> State:
    """Make a state in which one list is met on two ways, and a dict holds itself."""
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
def test_states_come_back(kind: str, database: Runs, door: Door) -> None:
    """A state is the same in the next process as it was after the step."""
    given = dict(STATES[kind])
    door(database.flow("a", "b"), given, run_id="x", until="a")
    stored = door.do(database.flow(), "read", "x")
    assert stored == {**STATES[kind], "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert list(map(type, stored.values()))[: len(STATES[kind])] == [
        *map(type, STATES[kind].values())
    ]


def test_arrays(database: Runs, door: Door) -> None:
    """Arrays come back with their types, shapes and values."""
    arrays = {"m": np.arange(12.0).reshape(3, 4), "t": np.array(["2026-11-25"], "datetime64[D]")}
    door(database.flow(), dict(arrays), run_id="x", until="a")
    stored = door.do(database.flow(), "read", "x")
    for name, array in arrays.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)


def test_shared_references(database: Runs, door: Door) -> None:
    """What was one object in two places is one object afterwards, cycles too."""
    door(database.flow(), shared(), run_id="x", until="a")
    stored = door.do(database.flow(), "read", "x")
    assert stored["one"] is stored["other"]["rows"]
    assert stored["self"] is stored["other"]["self"] is stored["other"]


def test_functions(database: Runs, door: Door) -> None:
    """Functions that pickle cannot name are stored by value, between plain states and after."""
    cp = database.bare()
    cp.add_step(name="plain")(lambda state: None)
    cp.add_step(name="code")(lambda state: state.update(f=add(2)))
    cp.add_step(name="call")(lambda state: state.update(n=state["f"](3)))
    cp.add_step(name="drop")(lambda state: state.pop("f") and None)
    door(cp, {}, run_id="x", until="code")
    (header,) = door.do(cp, "runs")
    assert (header.code, door.do(cp, "read", "x")["f"](40)) == (True, 42)
    assert door(cp, run_id="x") == {"n": 5}
    assert [header.code for header in door.do(cp, "runs")] == [False]


async def test_large_state(database: Runs) -> None:
    """Thirty megabytes are stored and come back, and the small state after them is small."""
    cp, large = database.bare(), b"0123456789" * 3_000_000
    cp.add_step(name="fill")(lambda state: state.update(large=large))
    cp.add_step(name="drop")(lambda state: state.update(large=len(state["large"])))
    await cp.arun({}, run_id="x", until="fill")
    assert sql(database.path, "SELECT length(payload) > 30000000 FROM runs") == [(1,)]
    assert (await cp.aread("x"))["large"] == large
    assert await cp.arun(run_id="x") == {"large": 30_000_000}
    assert sql(database.path, "SELECT length(payload) < 1000 FROM runs") == [(1,)]


@pytest.mark.parametrize("kind", sorted(MISFITS))
async def test_what_cannot_be_stored(kind: str, database: Runs) -> None:
    """Whatever nobody can store is named by its path, and what was stored before is untouched."""
    cp = database.bare()
    cp.add_step(name="a")(lambda state: None)

    with ExitStack() as stack:

        @cp.add_step(thread=False)
        def b(state: State) -> None:
            state["inner"] = {"bad": MISFITS[kind](stack)}

        with pytest.raises(UnserializableStateError) as info:
            await cp.arun({"n": 1}, run_id="x")
        assert info.value.step == "b"
        # What is nested too deeply is so from the top.
        whole = 'state["inner"]' if "nested" in kind else 'state["inner"]["bad"]'
        assert info.value.offenders[0][0].startswith(whole)
        assert await cp.aread("x") == {"n": 1, "checkpoint_index": 1}


def test_neighbours_of_an_unstorable_state(database: Runs) -> None:
    """In one transaction with others, a state that cannot be stored breaks its own run alone."""
    cp = database.bare()

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


# --- what is kept


def kept(cp: CheckpointFlow) -> list[tuple[int, list[str]]]:
    """Position and trail of each snapshot that is kept of "x", and of the newest, oldest first."""
    found: list[tuple[int, list[str]]] = []
    for name in (*reversed(cp.handler.kept("x")), None):
        with cp.handler.stored("x", name) as one:
            found.append((one.header.position, one.state().get("trail", [])))
    return found


def test_three_are_kept(database: Runs, door: Door) -> None:
    """With `keep=3` there are the newest and the two before it."""
    cp = database.flow(*STEPS, keep=3)
    door(cp, {}, "always", run_id="x")
    assert kept(cp) == [(2, ["a", "b"]), (3, ["a", "b", "c"]), (0, list(STEPS))]
    assert kept(database.flow(*STEPS, keep=1)) == [(0, list(STEPS))]


def test_all_of_the_last_passage_are_kept(database: Runs, door: Door) -> None:
    """With `keep="all"` there are all of the last run, and none of the run before it."""
    cp = database.flow(*STEPS, keep="all")
    for _ in range(2):
        door(cp, {}, "always", run_id="x")
        assert kept(cp) == [*((n, list(STEPS[:n])) for n in range(4)), (0, list(STEPS))]
    assert sql(database.path, "SELECT DISTINCT number FROM kept") == [(2,)]


@pytest.mark.parametrize("step", STEPS)
def test_state_on_entry(step: str, database: Runs, door: Door) -> None:
    """A run that is repeated from a step has the state as it was on entry to it."""
    cp = database.flow(*STEPS, keep="all")
    whole = door(cp, {"n": 1}, "always", run_id="x")
    database.log.clear()
    assert door(cp, None, "always", step, run_id="x") == whole
    assert database.ran() == list(STEPS[STEPS.index(step) :])
    assert cp.handler.header("x").number == 1


def test_failures_use_up_no_room(database: Runs, door: Door) -> None:
    """However often a step breaks, its record takes the place of the snapshot it tells of."""
    cp = database.flow(*STEPS, keep=3)
    database.faults["step c"] = ValueError("not yet")
    for _ in range(4):
        with suppress(ValueError):
            door(cp, {}, "always", run_id="x")
        assert [position for position, _ in kept(cp)] == [0, 1, 2]


def test_kept_of_one_run_are_none_of_another(database: Runs, door: Door) -> None:
    """What is kept goes with its run, and with no other."""
    cp = database.flow(keep="all")
    for run_id in ("x", "y"):
        door(cp, {}, run_id=run_id)
    door.do(cp, "delete", "y")
    assert (len(cp.handler.kept("x")), cp.handler.kept("y")) == (len(NAMES), [])
    door(cp, {}, run_id="y", until="a")
    assert len(cp.handler.kept("y")) == 1


def test_values_beyond_what_sqlite_takes(
    database: Runs, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that is too large for a row is refused by words, and the run stays as it was.

    SQLite's limit of a thousand million bytes is too far away for a test, so ours is moved.
    """
    monkeypatch.setattr(module, "LARGEST_BYTES", 1_000_000)
    cp = database.bare()
    cp.add_step(name="a")(lambda state: state.update(large=bytes(2_000_000)))
    with pytest.raises(OSError, match="SQLite holds 1000000: use the handler 'local'"):
        door(cp, {"n": 1}, run_id="x")
    assert door.do(cp, "read", "x") == {"n": 1, "checkpoint_index": 0}
