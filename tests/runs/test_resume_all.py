"""`aresume_all` resumes every unfinished run without an owner, and no other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import resume_script
from run_factories import UNFINISHED, Runs, active_run, first, resume_all, resumed
from support import NAMES, Runner, State

from aiocheckpoint import (
    CheckpointFlow,
    FlowChangedError,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
)

if TYPE_CHECKING:
    from aiocheckpoint import Header

IDS = ["one", "two", "three"]


def command(how: str, flows: Runs, *ids: str) -> list[str]:
    """Return the command line of the script that starts or resumes runs in a location."""
    handler = flows.options["handler"]
    return [sys.executable, resume_script.__file__, how, str(flows.path), handler, *ids]


def start_and_kill(flows: Runs, *ids: str) -> None:
    """Start runs in another process, wait until all are in their first step, and kill it."""
    with subprocess.Popen(command("start", flows, *ids), stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "held\n"
        one.kill()


def resume_elsewhere(flows: Runs) -> dict[str, list[Any]]:
    """Resume all runs in another process. Return state and error by id."""
    ended = subprocess.run(command("resume", flows), capture_output=True, text=True, check=True)
    return {run_id: rest for run_id, *rest in json.loads(ended.stdout)}


def broken(cp: CheckpointFlow, flows: Runs, run_id: str, status: str) -> None:
    """Leave an unfinished run of a flow of a, b, c that finished a."""
    faults = {"failed": ValueError("not yet"), "cancelled": asyncio.CancelledError()}
    if status == "stopped":
        cp.run({"who": run_id}, run_id=run_id, until="a")
        return
    flows.faults["step b"] = faults[status]
    with pytest.raises(type(faults[status])):
        cp.run({"who": run_id}, run_id=run_id)
    flows.faults.clear()


def header(cp: CheckpointFlow, run_id: str | None) -> Header:
    """Return the header of a stored run."""
    found: Header | None = cp.handler.header(run_id)
    assert found is not None
    return found


@pytest.mark.leaves_files
def test_killed_in_the_first_step(durable_runs: Runs) -> None:
    """Runs killed before any step was done resume from their given states.

    So each was stored with its initial state before its first step. The changes of the killed step
    are not stored. The repeated step has the key of its first attempt.
    """
    start_and_kill(durable_runs, *IDS)
    cp = resume_script.make_flow(str(durable_runs.path), durable_runs.options["handler"])
    assert [cp.read(run_id) for run_id in IDS] == [
        {"who": one, "checkpoint_index": 0} for one in IDS
    ]
    assert {one.status for one in cp.runs()} == {"running"}
    found = resume_elsewhere(durable_runs)
    assert set(found) == set(IDS)
    for run_id, (state, error) in found.items():
        assert (error, state["who"], state["attempts"]) == (None, run_id, [1])
        assert (header(cp, run_id).number, header(cp, run_id).status) == (1, "finished")
    assert len({state[key] for state, _ in found.values() for key in ("key", "told")}) == 6
    assert resume_elsewhere(durable_runs) == {}


def test_all_kinds_of_unfinished_runs(runs: Runs) -> None:
    """Stopped, failed and cancelled runs resume as the same run. Finished ones stay finished."""
    cp = runs.flow()
    for status in ("stopped", "failed", "cancelled"):
        broken(cp, runs, status, status)
    cp.run({"who": "finished"}, run_id="finished")
    runs.log.clear()
    found = resume_all(cp)
    assert set(found) == {"stopped", "failed", "cancelled"}
    for run_id, result in found.items():
        assert (result.error, result.state) == (None, cp_state(run_id))
        assert (header(cp, run_id).number, header(cp, run_id).status) == (1, "finished")
    assert sorted(runs.ran()) == ["b"] * 3 + ["c"] * 3
    assert resume_all(cp) == {}


def cp_state(run_id: str | None) -> State:
    """Return the final state of such a run, whose loaders ran at its start."""
    return {"who": run_id, "loads": ["a", "b"], "trail": list(NAMES)}


def test_nothing_stored(runs: Runs) -> None:
    """With nothing stored there is no result, and no file is made."""
    assert resume_all(runs.flow()) == {}
    assert runs.files() == {}


def test_failures_come_beside_successes(runs: Runs) -> None:
    """A run that fails again is a result with its error, note and record. Others continue."""
    cp = runs.empty_flow()
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: 1 // state["n"] and None)
    for number in range(4):
        cp.run({"n": number % 2}, run_id=f"run-{number}", until="a")
    found = resume_all(cp, limit=2)
    assert {run_id: type(one.error) for run_id, one in found.items()} == {
        **{f"run-{number}": ZeroDivisionError for number in (0, 2)},
        **{f"run-{number}": type(None) for number in (1, 3)},
    }
    assert found["run-0"].state is None
    assert "'b', broke" in str(getattr(found["run-0"].error, "__notes__", ""))
    assert [header(cp, f"run-{n}").status for n in range(4)] == ["failed", "finished"] * 2
    assert set(resume_all(cp)) == {"run-0", "run-2"}


def test_step_that_cancels_itself_is_a_failure(runs: Runs) -> None:
    """A CancelledError that a step raises itself is a result, and ends no other run."""
    cp = runs.flow()
    for run_id in IDS:
        cp.run({}, run_id=run_id, until="a")
    runs.faults["step b"] = asyncio.CancelledError()
    found = resume_all(cp)
    assert [type(found[one].error) for one in IDS] == [asyncio.CancelledError] * 3


def test_step_that_runs_into_another_run_is_a_failure(runs: Runs) -> None:
    """A RunInProgressError raised within a step is the step's failure, and is reported."""
    cp = runs.flow()
    cp.run({}, run_id="x", until="a")
    runs.faults["step b"] = RunInProgressError("elsewhere")
    assert resume_all(cp)["x"].error is runs.faults["step b"]


async def test_never_more_at_once(runs: Runs) -> None:
    """At most `limit` runs are running at once."""
    cp, under_way, seen, meet = runs.empty_flow(), set[int](), list[int](), asyncio.Barrier(3)

    @cp.add_step()
    async def count(state: State) -> None:
        under_way.add(state["n"])
        seen.append(len(under_way))
        if state.pop("meet"):
            await meet.wait()
        under_way.remove(state["n"])

    @cp.add_step()
    async def end(state: State) -> None:
        """The remaining step."""

    for number in range(12):
        await cp.arun({"n": number, "meet": False}, run_id=f"run-{number}", until="count")
        await cp.apatch({"meet": True}, "count", run_id=f"run-{number}")
    seen.clear()
    assert len(await resumed(cp, limit=3)) == 12
    assert (len(seen), max(seen)) == (12, 3)


def test_running_runs_are_skipped(runs: Runs) -> None:
    """A running run gives no result, and is left alone."""
    cp = runs.flow()
    cp.run({}, run_id="free", until="a")
    with active_run(runs.empty_flow(), "busy", {"who": "busy"}):
        assert set(resume_all(cp)) == {"free"}
        assert cp.read("busy")["who"] == "busy"
    assert header(cp, "busy").status == "finished"


@pytest.mark.leaves_files
def test_runs_of_another_process_are_skipped(durable_runs: Runs) -> None:
    """A run of another process is resumed after that process was killed, and not before."""
    words = command("start", durable_runs, "x")
    cp = resume_script.make_flow(str(durable_runs.path), durable_runs.options["handler"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        assert resume_all(cp) == {}
        owner.kill()
    assert set(resume_all(cp)) == {"x"}


async def test_leaving_early_cancels(runs: Runs) -> None:
    """Leaving the loop over the results cancels the running runs, which can be resumed later."""
    cp, ended, waiting = runs.empty_flow(), list[str](), set[str]()
    both = asyncio.Event()

    @cp.add_step()
    async def wait(state: State) -> None:
        if not state["quick"]:
            waiting.add(state["who"])
            if waiting == {"slow", "slower"}:
                both.set()
            await asyncio.get_running_loop().create_future()
        if state["last"]:
            await both.wait()

    cp.add_step(name="end")(lambda state: ended.append(state["who"]))
    for who in ("quick", "slow", "slower"):
        await cp.arun({"who": who, "quick": True, "last": False}, run_id=who, until="wait")
        await cp.apatch({"quick": who == "quick", "last": who == "quick"}, "wait", run_id=who)
    async with aclosing(cp.aresume_all(status=UNFINISHED)) as results:
        assert (await first(results)).run_id == "quick"
    assert ended == ["quick"]
    assert {one.run_id: one.status for one in await cp.aruns("cancelled")} == {
        "slow": "cancelled",
        "slower": "cancelled",
    }
    for who in ("slow", "slower"):
        await cp.apatch({"quick": True}, run_id=who)
    assert set(await resumed(cp)) == {"slow", "slower"}


async def test_finished_meanwhile_is_not_begun_anew(runs: Runs) -> None:
    """A run that another process finishes between the list and its turn gives no result."""
    cp = runs.flow()
    for run_id in ("late", "early"):
        await cp.arun({}, run_id=run_id, until="b")
    async with aclosing(cp.aresume_all(limit=1, status=UNFINISHED)) as results:
        assert (await first(results)).run_id == "early"
        await runs.flow().arun(run_id="late")
        assert [one async for one in results] == []
    assert header(cp, "late").number == 1
    assert runs.ran().count("c") == 2


async def test_deleted_meanwhile_is_not_begun_anew(runs: Runs) -> None:
    """A run that is deleted between the list and its turn stays deleted."""
    cp = runs.flow()
    for run_id in ("late", "early"):
        await cp.arun({}, run_id=run_id, until="b")
    async with aclosing(cp.aresume_all(limit=1, status=UNFINISHED)) as results:
        assert (await first(results)).run_id == "early"
        await cp.adelete("late")
        assert [one async for one in results] == []
    assert await cp.aread("late") == {}


def test_changed_flow(runs: Runs) -> None:
    """A run whose steps differ from the flow's gives a result with that error."""
    runs.flow().run({}, run_id="x", until="b")
    runs.log.clear()
    result = resume_all(runs.flow("a", "other", "c"))["x"]
    assert isinstance(result.error, FlowChangedError)
    assert result.error.stored_steps == NAMES
    assert runs.log == []
    assert resume_all(runs.flow())["x"].error is None


def test_flow_without_steps(runs: Runs) -> None:
    """Each result of a flow without steps is an error that says so."""
    runs.flow().run({}, run_id="x", until="b")
    assert isinstance(resume_all(runs.empty_flow())["x"].error, FlowDefinitionError)


def test_more_than_a_page(database: Runs) -> None:
    """Each of many runs is resumed once."""

    async def start_all() -> None:
        await asyncio.gather(*(cp.arun({}, run_id=f"{n}", until="a") for n in range(1_100)))

    cp = database.empty_flow()
    for name in NAMES:
        cp.add_step(name=name, thread=False)(lambda state: None)
    asyncio.run(start_all())
    assert len(resume_all(cp)) == 1_100


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        *((limit, InvalidTypeError) for limit in (None, "3", 1.5, True)),
        *((limit, InvalidValueError) for limit in (0, -1)),
    ],
    ids=repr,
)
def test_limit_that_is_none(limit: Any, error: type[Exception], database: Runs) -> None:  # noqa: ANN401
    """A limit is a number of runs from 1. Another one is refused at the call, before any loop."""
    with pytest.raises(error, match="limit="):
        database.flow().aresume_all(limit=limit)


def test_state_given_is_that_of_the_run(runs: Runs, runner: Runner) -> None:
    """A run that failed in its first step resumes from its given dict."""
    cp = runs.flow()
    runs.faults["load a"] = OSError("away")
    with pytest.raises(OSError, match="away"):
        runner(cp, {"who": "x"}, run_id="x")
    runs.faults.clear()
    result = resume_all(cp)["x"]
    assert (result.state or {})["who"] == "x"
