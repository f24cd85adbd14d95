"""`once=True`: a repeated request does the work once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import PATIENCE, Runs, listed
from support import NAMES, Runner, State

from aiocheckpoint import (
    CheckpointFlow,
    FlowChangedError,
    InvalidValueError,
    LocalStateHandler,
    RunInProgressError,
)

if TYPE_CHECKING:
    from pathlib import Path

DONE = {"n": 1, "loads": ["a"], "trail": list(NAMES)}


@pytest.mark.parametrize("run_id", ["order-42", None], ids=str)
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
def test_retried_request(
    run_id: str | None, *, asynchronous: bool, runs: Runs, any_runner: Runner
) -> None:
    """The second call gives the final state of the first, and neither runs nor stores."""
    runs.asynchronous = asynchronous
    assert any_runner(runs.flow(), {"n": 1}, run_id=run_id, once=True) == DONE
    header = runs.flow().handler.header(run_id)
    runs.log.clear()
    runs.events.clear()
    again = any_runner(runs.flow(), {"n": 1}, run_id=run_id, once=True)
    assert (again, runs.log, runs.events) == (DONE, [], [])
    assert runs.flow().handler.header(run_id) == header


def test_each_time_anew_without_it(runs: Runs, runner: Runner) -> None:
    """Without `once` a finished run begins anew, and later calls give the new final state."""
    runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    runner(runs.flow(), {"n": 2}, run_id="x")
    assert runner(runs.flow(), {"n": 3}, run_id="x", once=True)["n"] == 2
    assert runs.flow().handler.header("x").number == 2


def test_states_are_copies(runs: Runs, runner: Runner) -> None:
    """The caller may change the given state without changing that of the next caller."""
    runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    given: State = {"mine": True}
    got = runner(runs.flow(), given, run_id="x", once=True)
    got["trail"].clear()
    assert given == {"mine": True}
    assert runner(runs.flow(), given, run_id="x", once=True) == DONE


def test_unfinished_run_resumes(runs: Runs, runner: Runner) -> None:
    """A failed run is resumed by the next request, which finishes it."""
    runs.faults["step b"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    runs.faults.clear()
    runs.log.clear()
    assert runner(runs.flow(), {"n": 1}, run_id="x", once=True)["trail"] == list(NAMES)
    assert runs.ran() == ["b", "c"]
    assert runner(runs.flow(), run_id="x", once=True)["trail"] == list(NAMES)
    assert runs.ran() == ["b", "c"]


def test_stopped_run_resumes(runs: Runs, runner: Runner) -> None:
    """A run stopped by `until=` is not finished."""
    runner(runs.flow(), {"n": 1}, run_id="x", until="a", once=True)
    assert runner(runs.flow(), run_id="x", once=True) == {**DONE, "loads": ["a", "b"]}


async def test_many_tries_at_once(runs: Runs) -> None:
    """Of simultaneous requests one does the work. The waiting ones get its final state."""
    cp, began = runs.empty_flow(), list[int]()

    @cp.add_step()
    async def work(state: State) -> None:
        began.append(state["n"])
        begun.set()
        await others.wait()
        state["by"] = state["n"]

    begun, others = asyncio.Event(), asyncio.Event()
    tries = [cp.arun({"n": n}, run_id="x", once=True, wait=PATIENCE) for n in range(5)]
    tasks = [asyncio.create_task(one) for one in tries]
    await begun.wait()
    with pytest.raises(RunInProgressError):
        await cp.arun({"n": 9}, run_id="x", once=True)
    others.set()
    states = await asyncio.gather(*tasks)
    assert len(began) == 1
    assert states == [{"n": began[0], "by": began[0]}] * 5


def test_tries_in_threads(runs: Runs) -> None:
    """Requests under `run` in threads that begin together do the work once as well."""
    cp, ran, states = runs.empty_flow(), list[int](), list[State]()
    cp.add_step(name="work")(lambda state: ran.append(state["n"]))
    together = threading.Barrier(4)

    def attempt(number: int) -> None:
        together.wait(PATIENCE)
        states.append(cp.run({"n": number}, run_id="x", once=True, wait=PATIENCE))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(ran) == 1
    assert states == [{"n": ran[0]}] * 4


@pytest.mark.parametrize("checkpoint", [0, "b"], ids=repr)
def test_checkpoint_beside_it_is_refused(checkpoint: int | str, runs: Runs, runner: Runner) -> None:
    """`once=True` and `checkpoint=` contradict each other."""
    with pytest.raises(InvalidValueError, match=r"once=True.*checkpoint="):
        runner(runs.flow(), {}, checkpoint=checkpoint, run_id="x", once=True)
    assert (runs.log, listed(runner, runs.flow())) == ([], [])


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d"), ("a", "c", "b"), ("c",)])
def test_changed_steps(names: tuple[str, ...], runs: Runs, any_runner: Runner) -> None:
    """A finished run gives its result if one step is still there, and nothing runs again."""
    any_runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    runs.log.clear()
    before = runs.flow().handler.header("x")
    assert any_runner(runs.flow(*names), {"n": 1}, run_id="x", once=True) == DONE
    assert any_runner.do(runs.flow(*names), "resume", "x") == DONE
    assert (runs.log, runs.flow().handler.header("x")) == ([], before)
    assert any_runner(runs.flow(*names), {"n": 2}, run_id="x")["trail"] == list(names)


def test_result_of_another_flow(runs: Runs, any_runner: Runner) -> None:
    """A run without a common step name is another flow's: its result is given to no one else."""
    any_runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    before, other = runs.flow().handler.header("x"), runs.flow("p", "q")
    with pytest.raises(FlowChangedError, match=r"name=.*read\('x'\) gives its state") as info:
        any_runner(other, {"n": 1}, run_id="x", once=True)
    assert info.value.of_other_flow
    with pytest.raises(FlowChangedError, match="another flow"):
        any_runner.do(other, "resume", "x")
    assert runs.flow().handler.header("x") == before
    assert other.read("x")["trail"] == DONE["trail"]


def test_result_of_a_flow_that_migrates(runs: Runs, any_runner: Runner) -> None:
    """A flow with `migrate=` takes older runs on, and has their results, whatever their steps."""
    any_runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    release = runs.flow("p", "q", version=1, migrate=lambda state, version: "q")
    assert any_runner(release, {"n": 1}, run_id="x", once=True) == DONE
    assert any_runner.do(release, "resume", "x") == DONE


def test_changed_steps_of_an_unfinished_run(runs: Runs, runner: Runner) -> None:
    """An unfinished run needs the steps that it has done, under `once` as well."""
    runner(runs.flow(), {"n": 1}, run_id="x", until="b")
    with pytest.raises(FlowChangedError):
        runner(runs.flow("a", "c", "b"), {"n": 1}, run_id="x", once=True)


class Own:
    """A handler of dicts."""

    def __init__(self, path: object) -> None:
        self.stored: State = {}

    def read(self) -> State:
        """Give the stored state."""
        return dict(self.stored)

    def write(self, state: State) -> None:
        """Store the state."""
        self.stored = state


def test_handler_of_dicts_is_refused(runner: Runner) -> None:
    """A handler of dicts cannot store that a run has finished, so `once=` is refused."""
    cp = CheckpointFlow("x", handler=Own)
    cp.add_step(name="a")(lambda state: state.update(ran=True))
    with pytest.raises(InvalidValueError, match="Own"):
        runner(cp, {}, once=True)
    assert cp.handler.stored == {}


def test_state_written_by_hand_is_no_finished_run(runs: Runs, runner: Runner) -> None:
    """A state written by hand does not count as finished, and is run."""
    runs.flow().handler.write({"n": 1}, "x")
    assert runner(runs.flow(), run_id="x", once=True) == DONE
    runs.log.clear()
    assert (runner(runs.flow(), run_id="x", once=True), runs.log) == (DONE, [])


def test_file_of_gumly_is_no_finished_run(tmp_path: Path, runner: Runner) -> None:
    """A file of gumly does not record that a run finished, and is run."""
    flows = Runs(tmp_path / "c.pkl", kind="pattern")
    LocalStateHandler(flows.path).write({"n": 1})
    runner(flows.flow(), once=True)
    assert flows.ran() == list(NAMES)


def test_plan_knows_nothing_of_it(runs: Runs, runner: Runner) -> None:
    """A plan shows a run without `once`."""
    runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    plan = runner.plan(runs.flow(), run_id="x")
    assert (plan.start, plan.done, plan.fresh) == (0, False, True)
    assert str(plan).startswith("Starts at step 1 of 3, 'a', with the stored state")


def test_result_in_resume_all_and_prune(runs: Runs, runner: Runner) -> None:
    """Lists show the run as finished. After it was deleted, the next request does it again."""
    runner(runs.flow(), {"n": 1}, run_id="x", once=True)
    assert listed(runner, runs.flow(), "finished") == ["x"]
    assert runner.do(runs.flow(), "prune", 0) == 1
    runs.log.clear()
    assert runner(runs.flow(), {"n": 1}, run_id="x", once=True) == DONE
    assert runs.ran() == list(NAMES)


@pytest.mark.parametrize("once", [False, 0, None], ids=repr)
def test_not_once(once: Any, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """A false value is the same as no `once`."""
    for _ in range(2):
        runner(runs.flow("a"), {}, run_id="x", once=once)
    assert runs.ran() == ["a", "a"]
