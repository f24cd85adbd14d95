"""`amap(executor=)`: whole runs in workers, which are lost, and their results."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
import types
from collections import Counter
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from dispatched_flows import (
    LosingExecutor,
    OnlyThere,
    State,
    TwoArgumentsError,
    begin,
    dispatched_flow,
    spawned_pool,
)

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidTypeError,
    InvalidValueError,
    RemoteError,
    RunInProgressError,
    RunTerminatedError,
    UnpicklableFlowError,
    UnserializableStateError,
    WorkerLostError,
)
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path

    from aiocheckpoint import RunResult

resource_tracker.ensure_running()  # It keeps a descriptor, and no test leaves one behind.


@pytest.fixture(scope="module")
def pool() -> Generator[ProcessPoolExecutor]:
    """Give two processes to the tests that kill none."""
    with spawned_pool() as made:
        list(made.map(time.sleep, [0.2, 0.2]))  # Their pipes are no test's.
        yield made


@pytest.fixture(params=["files", "sqlite"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[CheckpointFlow]:
    """Make a flow on each of the local stores."""
    made = made_flow(request.param, tmp_path)
    yield made
    made.handler.close()


def made_flow(store: str, tmp_path: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of three steps."""
    place = f"{tmp_path}/runs/" if store == "files" else f"sqlite:///{tmp_path}/runs.db"
    return dispatched_flow(place, **options)


def states(tmp_path: Path, what: dict[int, str], count: int = 8) -> dict[str, State]:
    """Make the states of runs, of which some do something particular."""
    log = str(tmp_path / "log")
    return {f"r{n}": {"n": n, "do": what.get(n, ""), "log": log} for n in range(count)}


def lines(tmp_path: Path) -> Counter[str]:
    """Count what the steps have noted."""
    return Counter((tmp_path / "log").read_text().splitlines())


def by_id(results: list[RunResult]) -> dict[str, RunResult]:
    """Give results by run id, of which there is one for each."""
    found = {str(result.run_id): result for result in results}
    assert len(found) == len(results)
    return found


async def test_results_of_workers(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Final states, pauses, terminations and exceptions come back, each as under `arun`."""
    what = {1: "raise", 2: "pause", 3: "terminate", 4: "exit"}
    results = by_id(await flow.amap(states(tmp_path, what), executor=pool))
    finished = [results[f"r{n}"] for n in (0, 5, 6, 7)]
    assert {result.status for result in finished} == {"finished"}
    assert [one.state["n"] for one in finished if one.state] == [0, 10, 12, 14]
    assert {one.state["pid"] for one in finished if one.state}.isdisjoint([0, id(pool)])
    assert (results["r2"].status, results["r2"].pause_number) == ("paused", 1)
    assert isinstance(results["r3"].error, RunTerminatedError)
    assert results["r3"].status == "terminated"
    assert isinstance(results["r4"].error, SystemExit)
    error = results["r1"].error
    assert isinstance(error, ValueError)
    assert str(error) == "run 1 is broken"
    assert any("step 2 of 3, 'work', broke" in one for one in error.__notes__)
    assert "dispatched_flows.py" in str(error.__cause__)
    assert {str(one.run_id): one.status for one in flow.runs(limit=9)} == {
        **dict.fromkeys(("r0", "r5", "r6", "r7"), "finished"),
        "r1": "failed",
        "r2": "paused",
        "r3": "terminated",
        "r4": "failed",
    }


async def test_exceptions_that_cannot_be_sent(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Their text comes back with their class and traceback. The worker lives on."""
    what = {0: "raise what cannot be sent", 1: "raise what cannot be loaded"}
    results = by_id(await flow.amap(states(tmp_path, what, 3), executor=pool))
    for run_id, kind in (("r0", "LocalError"), ("r1", TwoArgumentsError.__qualname__)):
        error = results[run_id].error
        assert isinstance(error, RemoteError)
        assert error.run_id == run_id
        assert error.kind.endswith(kind)
        assert "in work" in error.text
        assert error.text in str(error.__cause__)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert results["r2"].status == "finished"


def iter_nothing() -> Iterator[None]:
    """Make a generator, which cannot be pickled."""
    yield


async def test_states_that_do_not_come_back(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """A value that is not loaded here, or there, is named. The run has finished, or not begun."""
    there = await flow.amap(states(tmp_path, {0: "make"}, 1), executor=pool)
    here = await flow.amap([("x", {"value": OnlyThere()})], executor=pool)
    for results, key in ((there, "made"), (here, "value")):
        error = results[0].error
        assert isinstance(error, UnserializableStateError)
        assert error.offenders[0][0] == f'state["{key}"]'
        assert "another process" in error.offenders[0][1]
    finished, begun = flow.header("r0"), flow.header("x")
    assert finished is not None
    assert finished.finished
    assert begun is None
    unsent = await flow.amap([("y", {"value": iter_nothing()})], executor=pool)
    assert isinstance(unsent[0].error, UnserializableStateError)


async def test_states_stay_in_the_store(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """With `states=False` a result has none, here as in workers."""
    for executor in (pool, None):
        results = await flow.amap(states(tmp_path, {}, 2), executor=executor, states=False)
        assert [(one.state, one.status) for one in results] == [(None, "finished")] * 2
    assert flow.read("r1")["n"] == 2


async def test_finished_runs_begin_anew_unless_once(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Without `once` a run that finished before is run again. With it, its state is the result."""
    for number, once in ((1, False), (2, False), (2, True)):
        await flow.amap(states(tmp_path, {}, 2), executor=pool, once=once)
        assert {one.number for one in flow.runs()} == {number}
    assert lines(tmp_path)["end 1"] == 2


@pytest.mark.parametrize("error", [BrokenExecutor, CancelledError])
@pytest.mark.parametrize("once", [False, True])
async def test_run_whose_answer_is_lost_is_not_run_twice(
    error: Callable[[], BaseException], *, once: bool, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """It had finished, so its stored state is the result. An older finished run is none."""
    flow = made_flow("sqlite", tmp_path)
    log = states(tmp_path, {}, 1)["r0"]["log"]
    if not once:
        flow.run({"n": 50, "do": "", "log": log}, run_id="r0")
    losing = LosingExecutor(pool, 2, error)
    [result] = await flow.amap(states(tmp_path, {}, 1), executor=lambda: losing, once=once)
    assert result.state is not None
    assert (result.status, result.state["n"]) == ("finished", 0)
    assert lines(tmp_path)["end 0"] == 1
    assert losing.submitted == 3
    header = flow.header("r0")
    assert header is not None
    assert header.number == (1 if once else 2)


async def test_run_that_went_on_is_the_run_that_finished(
    flow: CheckpointFlow, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """An unfinished run keeps its number when it goes on, and is known by it behind a loss."""
    state = states(tmp_path, {}, 1)["r0"]
    flow.run(dict(state), run_id="r0", until="begin")
    losing = LosingExecutor(pool, 1)
    [result] = await flow.amap({"r0": state}, executor=lambda: losing)
    assert result.status == "finished"
    assert lines(tmp_path) == {"begin 0": 1, "work 0": 1, "end 0": 1}


async def test_worker_is_killed(flow: CheckpointFlow, tmp_path: Path) -> None:
    """A killed process breaks its pool. All runs go on in a new one, from where they were."""
    what = {2: "kill", 11: "kill"}
    results = by_id(await flow.amap(states(tmp_path, what, 20), executor=spawned_pool, lost=3))
    assert [results[f"r{n}"].error for n in range(20)] == [None] * 20
    assert [one.state["n"] for one in results.values() if one.state and one.run_id == "r11"] == [22]
    noted = lines(tmp_path)
    twice = [line for line, count in noted.items() if count > 1]
    # Those that killed, and the step that the other process was in at each kill.
    assert {"work 2", "work 11"} <= set(twice)
    assert len(twice) <= 4
    assert all(noted[f"end {n}"] for n in range(20))
    assert {one.number for one in flow.runs(limit=20)} == {1}


async def test_run_that_kills_its_worker_always(tmp_path: Path) -> None:
    """It ends with an error behind `lost` losses, and its neighbours finish."""
    flow = made_flow("sqlite", tmp_path)
    what = {4: "kill always"}
    pool = partial(spawned_pool, 1)
    results = by_id(await flow.amap(states(tmp_path, what, 12), executor=pool, lost=1))
    error = results.pop("r4").error
    assert isinstance(error, WorkerLostError)
    assert (error.run_id, error.losses) == ("r4", 2)
    assert isinstance(error.__cause__, BrokenExecutor)
    assert {result.status for result in results.values()} == {"finished"}
    assert lines(tmp_path)["work 4"] == 2


def die(*_: object) -> None:
    """Kill this process as soon as it begins."""
    import os  # noqa: PLC0415 - in the worker
    import signal  # noqa: PLC0415 - as above

    os.kill(os.getpid(), signal.SIGKILL)


async def test_workers_that_never_begin(tmp_path: Path) -> None:
    """Where no run begins, each counts the loss, so that the call ends."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - of types above
    from multiprocessing import get_context  # noqa: PLC0415 - as above

    flow = made_flow("files", tmp_path)

    def make() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=die)

    results = await flow.amap(states(tmp_path, {}, 5), executor=make, lost=1)
    assert [type(result.error) for result in results] == [WorkerLostError] * 5
    assert flow.runs() == []


async def test_executor_that_cannot_be_made_anew(tmp_path: Path) -> None:
    """A broken executor that was given itself ends the runs, with the remedy."""
    flow = made_flow("sqlite", tmp_path)
    with spawned_pool(1) as pool:
        results = await flow.amap(states(tmp_path, {1: "kill"}, 4), executor=pool)
    errors = [result.error for result in results if result.error is not None]
    assert len(errors) >= 3
    assert all(isinstance(error, WorkerLostError) for error in errors)
    assert all("a function that makes one" in str(error) for error in errors)
    assert {one.status for one in await flow.aresume_all()} <= {"finished"}


async def test_error_of_the_executor_is_the_runs(tmp_path: Path) -> None:
    """What is no loss is not sent again."""
    flow = made_flow("files", tmp_path)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    results = await flow.amap(states(tmp_path, {}, 2), executor=closed)
    words = "executor=: cannot schedule new futures after shutdown."
    assert [str(one.error) for one in results] == [words] * 2
    no_executor: Any = list
    results = await flow.amap(states(tmp_path, {}, 1), executor=no_executor)
    assert isinstance(results[0].error, InvalidTypeError)


async def test_two_pairs_of_one_id(tmp_path: Path) -> None:
    """The second one is refused while the first is in a worker, as by `arun`."""
    flow = made_flow("sqlite", tmp_path)
    state = states(tmp_path, {0: "sleep"}, 1)["r0"]
    with ThreadPoolExecutor(2) as pool:
        results = await flow.amap([("r0", dict(state)), ("r0", dict(state))], executor=pool)
        again = await flow.amap([("r0", dict(state))], executor=pool)
    assert {type(one.error) for one in results} == {RunInProgressError, type(None)}
    assert [one.status for one in again] == ["finished"]
    assert lines(tmp_path)["end 0"] == 2


async def test_leaving_the_loop_withdraws_what_has_not_begun(
    flow: CheckpointFlow, tmp_path: Path
) -> None:
    """What has begun ends before the block does, and the rest was never begun."""
    what = dict.fromkeys(range(30), "sleep")
    with spawned_pool(1) as pool:
        async with aclosing(flow.amap(states(tmp_path, what, 30), executor=pool)) as results:
            async for _ in results:
                break
        found = flow.runs(limit=30)
        assert {one.status for one in found} == {"finished"}
        assert len(found) < 10
    assert lines(tmp_path).total() == 3 * len(found)


async def test_drain_sends_no_more(tmp_path: Path) -> None:
    """What has begun ends, what has not is a `DrainingError`, and so is the rest."""
    flow = made_flow("sqlite", tmp_path)
    what = dict.fromkeys(range(30), "sleep")
    seen: list[RunResult] = []

    async def take(pool: ProcessPoolExecutor) -> None:
        async for result in flow.amap(states(tmp_path, what, 30), executor=pool, limit=20):
            seen.append(result)
            flow.drain()

    with spawned_pool(1) as pool, pytest.raises(DrainingError):
        await take(pool)
    finished = [one.run_id for one in seen if one.status == "finished"]
    assert len(seen) == 20
    assert 1 <= len(finished) < 10
    assert all(one.error is None or isinstance(one.error, DrainingError) for one in seen)
    assert sorted(map(str, finished)) == sorted(str(one.run_id) for one in flow.runs(limit=30))


async def test_source_is_not_ahead_of_the_limit(tmp_path: Path) -> None:
    """However many runs there are, `limit` of them are held."""
    flow = made_flow("files", tmp_path)
    taken, given = 0, 0

    def source() -> Iterator[tuple[str, State]]:
        nonlocal taken
        for run_id, state in states(tmp_path, {}, 40).items():
            taken += 1
            assert taken - given <= 5
            yield run_id, state

    with ThreadPoolExecutor(2) as pool:
        async for _ in flow.amap(source(), executor=pool, limit=5):
            given += 1
    assert (taken, given) == (40, 40)


def test_display_shows_the_ends(
    pool: ProcessPoolExecutor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No event of a worker comes back, and a display counts the results."""
    flow = made_flow("sqlite", tmp_path)
    what = {0: "raise", 1: "pause"}
    list(flow.map(states(tmp_path, what, 4), executor=pool, progress="lines"))
    assert "4/4 runs, 2 finished, 1 failed, 1 paused, " in capsys.readouterr().err


def test_map_is_the_twin(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """Scripts have the same without a loop."""
    flow = made_flow("sqlite", tmp_path)
    results = list(flow.map(states(tmp_path, {}, 4), executor=pool))
    assert sorted(one.state["n"] for one in results if one.state) == [0, 2, 4, 6]
    with pytest.raises(UnpicklableFlowError):
        CheckpointFlow("x", handler=MemoryStateHandler()).map({}, executor=pool)


class CountedSecret:
    """Finds a secret, and notes each time in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> str:
        """Find it."""
        with self.path.open("a") as file:
            file.write("found\n")
        return "s" * 32


async def test_worker_loads_a_flow_once(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """A flow by value is made once in each process, for however many runs."""
    counted = CountedSecret(tmp_path / "found")
    flow = made_flow("files", tmp_path, secret=counted)
    results = await flow.amap(states(tmp_path, {}, 40), executor=pool)
    assert {one.status for one in results} == {"finished"}
    assert 2 <= len(counted.path.read_text().split()) <= 3


async def test_module_that_workers_lack(
    pool: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that a worker does not find is the error of the run, with the remedy."""
    flow = made_flow("files", tmp_path)
    module = types.ModuleType("lacking_module")
    module.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("lacking_module", None)
    vars(module)["cp"] = flow
    monkeypatch.setitem(sys.modules, "lacking_module", module)
    flow._core.settings.modules.prefer("lacking_module")  # noqa: SLF001
    [result] = await flow.amap(states(tmp_path, {}, 1), executor=pool)
    assert isinstance(result.error, InvalidValueError)
    assert "'lacking_module:cp'" in str(result.error)


async def test_limiter_works_in_workers(tmp_path: Path, pool: ProcessPoolExecutor) -> None:
    """A flow with a limiter runs on a loop there."""
    flow = made_flow("files", tmp_path)
    flow.add_step(name="limited", limiter=limiter_of)(begin)
    results = await flow.amap(states(tmp_path, {}, 3), executor=pool)
    assert [one.error for one in results] == [None] * 3


def limiter_of(_: State) -> anyio.CapacityLimiter:
    """Give a limiter for one attempt."""
    return anyio.CapacityLimiter(1)


async def test_threads_have_the_very_flow(tmp_path: Path) -> None:
    """A pool of threads needs no pickle: closures and memory are no hindrance."""
    flow = CheckpointFlow("memory", handler=MemoryStateHandler())
    seen: list[int] = []
    flow.add_step(name="a")(lambda state: seen.append(state["n"]))
    with ThreadPoolExecutor(2) as pool:
        results = await flow.amap({"a": {"n": 1}, "b": {"n": 2}}, executor=pool)
    assert sorted(seen) == [1, 2]
    assert {one.status for one in results} == {"finished"}


async def test_closures_need_cloudpickle(
    pool: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, a flow whose functions have no names is refused before anything is sent."""
    flow = CheckpointFlow(f"{tmp_path}/runs/")
    flow.add_step(name="a")(lambda state: state.update(n=1))
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(UnpicklableFlowError, match="step 'a'") as info:
        flow.amap({"x": {}}, executor=pool)
    assert info.value.step == "a"


def test_bad_arguments(tmp_path: Path) -> None:
    """They are refused at the call."""
    flow = made_flow("files", tmp_path)
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"executor": 3}, InvalidTypeError, "or a function that makes one, not a int"),
        ({"executor": list, "lost": -1}, InvalidValueError, "lost=-1"),
        ({"executor": list, "lost": "3"}, InvalidTypeError, "lost="),
        ({"executor": list, "lost": True}, InvalidTypeError, "lost="),
        ({"states": 1}, InvalidTypeError, "states="),
    ]
    for options, kind, said in bad:
        with pytest.raises(kind, match=said):
            flow.amap({}, **options)
        with pytest.raises(kind, match=said):
            flow.map({}, **options)


class OneDict:
    """A user's own handler."""

    def __init__(self, path: object) -> None:
        self.path = path

    def read(self) -> State:
        """Read nothing."""
        return {}

    def write(self, state: State) -> None:
        """Write nothing."""


def test_handler_of_one_dict_has_no_runs(tmp_path: Path) -> None:
    """A user's own handler keeps one state, of one run."""
    flow = CheckpointFlow(tmp_path / "x", handler=OneDict)
    with pytest.raises(InvalidValueError, match="one state, of one run"):
        flow.amap({}, executor=list)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():
        time.sleep(0.01)


def test_cancelled_task_waits_for_what_has_begun(tmp_path: Path) -> None:
    """A second cancellation does not end that wait."""
    flow = made_flow("sqlite", tmp_path)
    runs = states(tmp_path, dict.fromkeys(range(6), "sleep"), 6)

    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            task = asyncio.ensure_future(flow.amap(runs, executor=pool))
            await asyncio.to_thread(wait_for, tmp_path / "log")
            task.cancel()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {one.status for one in flow.runs()} == {"finished"}

    asyncio.run(main())
    assert lines(tmp_path).total() == 3
