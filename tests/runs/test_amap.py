"""`amap`: many runs with their results, failures beside successes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow, collect, pairs_of, statuses
from run_factories import first

from aiocheckpoint import Pause, RunInProgressError, StreamConsumedError, current_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blocking_flow import Pair
    from run_factories import Runs
    from support import State

    from aiocheckpoint._model.request import LoadPolicy

SOURCES: dict[str, Callable[[dict[str, State]], Any]] = {
    "dict": lambda states: states,
    "list": lambda states: list(states.items()),
    "generator": lambda states: (pair for pair in states.items()),
    "async generator": pairs_of,
}


async def test_failures_come_beside_successes(runs: Runs) -> None:
    """Each run is one result: its state, or what came out of it with its note, and its status."""
    raised = {"fails": ValueError("no"), "leaves": asyncio.CancelledError(), "waits": Pause("ok?")}
    cp = runs.empty_flow()

    @cp.add_step()
    async def choose(state: State) -> None:
        state["chosen"] = True
        if state["who"] in raised:
            raise raised[state["who"]]

    who = ("ends", "fails", "leaves", "waits")
    found = await collect(cp.amap({one: {"who": one} for one in who}))
    assert set(found) == set(who)
    assert {one: found[one].error for one in who} == {"ends": None, "waits": None} | {
        one: raised[one] for one in ("fails", "leaves")
    }
    assert [found[one].status for one in who] == ["finished", None, None, "paused"]
    assert found["ends"].state == {"who": "ends", "chosen": True}
    assert found["waits"].state == {"who": "waits"}
    assert (found["fails"].state, found["leaves"].state) == (None, None)
    assert "'choose', broke" in str(getattr(found["fails"].error, "__notes__", ""))
    assert statuses(cp, who) == ["finished", "failed", "cancelled", "paused"]


@pytest.mark.parametrize("source", SOURCES)
async def test_sources(source: str, database: Runs) -> None:
    """However the pairs are given, each is run once, and its state is the very dict given."""
    states: dict[str, State] = {f"run-{n}": {"n": n} for n in range(7)}
    found = await collect(database.flow("a", "b").amap(SOURCES[source](states), limit=3))
    assert set(found) == set(states)
    assert all(found[one].state is states[one] for one in states)
    assert sorted(database.ran()) == ["a"] * 7 + ["b"] * 7


async def test_awaited(runs: Runs) -> None:
    """An `await` in place of a loop gives all results in a list; of nothing, an empty one."""
    cp = runs.flow("a")
    results = await cp.amap({"x": {"n": 1}, "y": {"n": 2}})
    assert {one.run_id: (one.state or {})["n"] for one in results} == {"x": 1, "y": 2}
    assert await cp.amap({}) == []
    assert await cp.amap(pairs_of({})) == []


async def test_results_come_as_they_end(runs: Runs) -> None:
    """A result comes when its run has ended, whatever was begun before and goes on."""
    cp, free = runs.empty_flow(), asyncio.Event()

    @cp.add_step()
    async def wait(state: State) -> None:
        await (free.wait() if state["slow"] else asyncio.sleep(0))

    results = aiter(cp.amap({"slow": {"slow": True}, "quick": {"slow": False}}))
    assert (await first(results)).run_id == "quick"
    free.set()
    assert (await first(results)).run_id == "slow"
    assert [one async for one in results] == []


async def test_once(runs: Runs) -> None:
    """Under `once=True` what finished gives its stored state, and nothing runs; else it does."""
    cp = runs.flow("a", "b")
    states = [await cp.amap({"x": {}, "y": {}}, once=True) for _ in range(2)]
    assert sorted(runs.ran()) == ["a", "a", "b", "b"]
    before, after = ({one.run_id: one.state for one in some} for some in states)
    assert before == after
    await cp.amap({"x": {}})
    assert len(runs.ran()) == 6
    assert cp.handler.header("x").number == 2


async def test_unfinished_runs_go_on(runs: Runs) -> None:
    """A run that was stopped on its way goes on from there, with its own state."""
    cp = runs.flow()
    await cp.arun({"mine": 1}, run_id="x", until="b")
    (result,) = await cp.amap({"x": {"mine": 2}})
    assert (result.state or {})["mine"] == 1
    assert runs.ran() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("policy", "count"), [("first only", 1), ("always", 3), ([False, True, True], 2)]
)
async def test_load_policy(policy: LoadPolicy, count: int, database: Runs) -> None:
    """The loaders that are called are those that `arun` would call."""
    await database.flow().amap({"x": {}, "y": {}}, policy)
    assert len(database.ran("load")) == 2 * count


async def test_one_id_twice_at_once(runs: Runs) -> None:
    """Of two runs of one id at once the second is a result that names the first's place."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    results = aiter(cp.amap([("x", {}), ("x", {})]))
    refused = await first(results)
    assert isinstance(refused.error, RunInProgressError)
    assert refused.error.path == cp.handler.locate("x")
    blocking_flow.free.set()
    assert (await first(results)).state == LAST
    assert blocking_flow.times("x") == LAST["trail"]


async def test_one_id_twice_in_turn(runs: Runs) -> None:
    """With room for one, a second pair of the same id is a run anew."""
    cp = runs.flow("a")
    found = await cp.amap([("x", {"n": 1}), ("x", {"n": 2})], limit=1)
    assert [(one.state or {})["n"] for one in found] == [1, 2]
    assert cp.handler.header("x").number == 2


async def test_nested(runs: Runs) -> None:
    """A step may map more runs of its own flow, at any depth, with room for one at a time."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def divide(state: State) -> None:
        own = current_step().run_id
        halves = {f"{own}/{n}": {"size": state["size"] // 2} for n in range(2)}
        found = await cp.amap(halves if state["size"] > 1 else {}, limit=1)
        state["parts"] = [one.state for one in found]

    leaf: State = {"size": 1, "parts": []}
    (result,) = await cp.amap({"x": {"size": 4}}, limit=1)
    assert result.state == {"size": 4, "parts": [{"size": 2, "parts": [leaf] * 2}] * 2}
    assert len(await cp.aruns("finished")) == 7


async def test_nothing_happens_before_the_loop(runs: Runs) -> None:
    """A map that nobody loops over runs nothing, takes nothing, and can be closed."""
    source: Iterator[Pair] = iter([("x", {})])
    results = runs.flow("a").amap(source)
    await asyncio.sleep(0)
    await results.aclose()
    del results
    assert (list(source), runs.log, runs.files()) == ([("x", {})], [], {})


async def test_second_loop(database: Runs) -> None:
    """What was looped over or awaited once says so at the second time."""
    results = database.flow("a").amap({"x": {}})
    assert len(await results) == 1
    with pytest.raises(StreamConsumedError, match="only once"):
        await results
    with pytest.raises(StreamConsumedError):
        aiter(results)
    assert database.ran() == ["a"]
