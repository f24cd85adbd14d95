"""`add_step(executor=)`: what a step has elsewhere, and what comes back."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps
from support import Runner, do_nothing

from aiocheckpoint import (
    CheckpointFlow,
    ExecutorError,
    FlowDefinitionError,
    InvalidTypeError,
    NotTransactionalError,
    RunTerminatedError,
    UnserializableStateError,
    events,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from aiocheckpoint.events import Event


def test_state_there_and_back(executor: Executor, runner: Runner, tmp_path: Path) -> None:
    """Loader, step and saver are called there, in one call, and the given dict is changed."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step()(do_nothing)
    load, save = sent_steps.load_rows, sent_steps.save_rows
    cp.add_step(load, save, executor=executor)(sent_steps.use_rows)
    cp.add_step(executor=executor)(sent_steps.charge)
    given: dict[str, Any] = {"n": 4}
    assert runner(cp, given) is given
    assert (given["sum"], given["data"]) == (6, ["rows"])
    assert (given["saves"], given["saved"]) == (1, "behind 1")
    assert given["loads"] == 1
    assert given["attempt"] == 1
    elsewhere = given["process"] != os.getpid()
    assert elsewhere == (type(executor).__name__ == "ProcessPoolExecutor")
    assert cp.read() == {**given, "checkpoint_index": 0}


def test_in_processes_of_the_flow(pools: object, runner: Runner, tmp_path: Path) -> None:
    """The word "process" is enough."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(sent_steps.load_rows, executor="process")(sent_steps.use_rows)
    cp.add_step(executor="process")(sent_steps.charge)
    given = {"n": 4}
    assert runner(cp, given)["sum"] == 6
    assert given["process"] != os.getpid()
    cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_keys_are_those_of_the_steps(forked: Executor, tmp_path: Path) -> None:
    """A step has the same key there as here."""

    def flow(place: str, executor: Executor | None) -> CheckpointFlow:
        cp = CheckpointFlow(tmp_path / place, name="orders")
        cp.add_step(name="pay", executor=executor)(sent_steps.charge)
        cp.add_step(name="ship", executor=executor)(sent_steps.charge)
        return cp

    here = flow("here/", None).run({}, run_id="order-1")
    assert flow("there/", forked).run({}, run_id="order-1")["keys"] == here["keys"]


@pytest.mark.parametrize("kind", ["fork", "process"])
async def test_two_hundred_runs_at_once(kind: str, pools: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """All runs end over two processes, and each key is charged once, by its own run."""
    charges = tmp_path / "charges"
    charges.mkdir()
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/runs.db", name="orders", fsync=False)
    executor: Any = "process" if kind == "process" else pools.of(kind)
    for name in ("pay", "ship"):
        cp.add_step(name=name, executor=executor)(sent_steps.charge)
    keys: set[str] = set()
    async with cp:
        states = [(f"order-{number}", {"folder": str(charges)}) for number in range(200)]
        async for result in cp.amap(states, limit=200):
            assert result.state is not None, result.error
            keys.update(result.state["keys"].values())
    assert len(keys) == 400
    assert {path.name for path in charges.iterdir()} == keys
    assert {path.read_text(encoding="utf-8") for path in charges.iterdir()} == {"charged\n"}


def test_retried_whole(forked: Executor, runner: Runner, tmp_path: Path) -> None:
    """Each attempt there begins with the state on entry, and a saver is not called again alone."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    load, save = sent_steps.load_rows, sent_steps.save_rows
    cp.add_step(load, save, executor=forked, retry=3)(sent_steps.use_rows)
    given = runner(cp, {"n": 3, "failures": 2})
    assert (given["loads"], given["saves"], given["saved"]) == (1, 1, "behind 3")


def test_events_of_a_step(forked: Executor, tmp_path: Path) -> None:
    """Hooks hear of the loader, of the end with the seconds of each part, and of the result."""
    heard: list[Event] = []
    cp = CheckpointFlow(tmp_path / "run.pkl", hooks=[heard.append])
    load, save = sent_steps.load_rows, sent_steps.save_rows
    cp.add_step(load, save, executor=forked)(sent_steps.use_rows)
    cp.run({"n": 3})
    kinds = [type(one) for one in heard if isinstance(one, events.StepEvent)]
    assert kinds == [events.StepStarted, events.StepLoaded, events.StepFinished]
    finished = next(one for one in heard if isinstance(one, events.StepFinished))
    assert list(finished.seconds) == ["load", "step", "save"]
    assert finished.result_ignored


def test_exception_comes_back(executor: Executor, runner: Runner, tmp_path: Path) -> None:
    """It has its notes and the traceback of the worker, and the state is as it was on entry."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=executor)(sent_steps.raise_with_note)
    given = {"n": 1}
    with pytest.raises(LookupError, match="no such row") as caught:
        runner(cp, given)
    assert caught.value.__notes__[0] == "look into the table"
    assert "broke in its part 'step'" in caught.value.__notes__[1]
    assert "in raise_with_note" in str(caught.value.__cause__)
    failure = cp.handler.header().failure
    assert failure is not None
    assert failure.step == "raise_with_note"
    assert "in raise_with_note" in failure.traceback
    assert given == {"n": 1}
    assert cp.read() == {"n": 1, "checkpoint_index": 0}


def test_part_that_broke(forked: Executor, tmp_path: Path) -> None:
    """The note names the loader or the saver, and a loader that returns no dict is refused."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(sent_steps.load_rows_wrongly, executor=forked)(sent_steps.use_rows)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="a loader returns a dict") as caught:
        cp.run({"n": 3})
    assert "broke in its part 'load'" in caught.value.__notes__[0]
    saving = CheckpointFlow(tmp_path / "saving.pkl")
    load, save = sent_steps.load_rows, sent_steps.save_rows
    saving.add_step(load, save, executor=forked)(sent_steps.use_rows)
    with pytest.raises(OSError, match="attempt 1") as failed:
        saving.run({"n": 3, "failures": 1})
    assert "broke in its part 'save'" in failed.value.__notes__[0]


def test_interrupt_comes_back(forked: Executor, tmp_path: Path) -> None:
    """What is no `Exception` comes out as itself, and cancels the run."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.interrupt)
    with pytest.raises(KeyboardInterrupt):
        cp.run({})
    assert cp.handler.header().status == "cancelled"


def test_exception_that_does_not_come_back(forked: Executor, tmp_path: Path) -> None:
    """An error of ours names its type, and has its traceback."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.raise_stubborn)
    with pytest.raises(ExecutorError, match=r"raised sent_steps\.Stubborn") as caught:
        cp.run({"n": 2})
    assert caught.value.step == "raise_stubborn"
    assert "in raise_stubborn" in caught.value.__notes__[0]


def test_pause_and_answer(executor: Executor, runner: Runner, tmp_path: Path) -> None:
    """A step there pauses its run, which goes on there with the answer."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=executor)(sent_steps.pause)
    assert runner(cp, {"n": 1}) == {"n": 1}
    header = cp.handler.header()
    assert (header.status, header.pause) == ("paused", "needs an answer")
    assert runner(cp, update={"answer": 2}) == {"n": 1, "answer": 2}


def test_terminated_there(forked: Executor, runner: Runner, tmp_path: Path) -> None:
    """A step there ends its run for good."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.terminate)
    with pytest.raises(RunTerminatedError, match="declined"):
        runner(cp, {})
    assert cp.handler.header().status == "terminated"


def test_loader_may_not_pause(forked: Executor, tmp_path: Path) -> None:
    """As in the process of the run, a loader may not."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(sent_steps.pause, executor=forked)(sent_steps.charge)  # type: ignore[arg-type]
    with pytest.raises(FlowDefinitionError, match="only a step may pause a run"):
        cp.run({})


@pytest.mark.parametrize("kind", ["fork", "process"])
def test_value_that_cannot_come_back(kind: str, pools: Any, runner: Runner, tmp_path: Path) -> None:  # noqa: ANN401
    """The error names the key, and the stored state is that on entry."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    executor: Any = "process" if kind == "process" else pools.of(kind)
    cp.add_step(executor=executor)(sent_steps.leave_lock)
    with pytest.raises(UnserializableStateError) as caught:
        runner(cp, {"n": 1})
    assert caught.value.step == "leave_lock"
    assert caught.value.offenders[0][0] == 'state["lock"]["inner"]'
    assert cp.read() == {"n": 1, "checkpoint_index": 0}
    cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_value_that_loads_there_alone(forked: Executor, tmp_path: Path) -> None:
    """A value that the run cannot load is named by its key."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.leave_no_return)
    with pytest.raises(UnserializableStateError) as caught:
        cp.run({"n": 1})
    assert [path for path, _ in caught.value.offenders] == ['state["conn"]']
    assert cp.read() == {"n": 1, "checkpoint_index": 0}


def test_no_connection_there(forked: Executor, tmp_path: Path) -> None:
    """The transaction of the snapshot is in the process of the run."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.take_connection)
    with pytest.raises(NotTransactionalError, match="Leave executor= out"):
        cp.run({})


def test_note_on_missing_data(forked: Executor, tmp_path: Path) -> None:
    """A step that looks for what an earlier one has left in `data` is told that it is empty."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.look_up)
    with pytest.raises(KeyError) as caught:
        cp.run({}, data={"rows": 1})
    assert any("begins empty in an executor" in note for note in caught.value.__notes__)


def test_note_on_data_left_there(forked: Executor, tmp_path: Path) -> None:
    """A later step that looks for what was left in `data` there is told where it was left."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step()(do_nothing)
    cp.add_step(sent_steps.load_rows, executor=forked)(sent_steps.use_rows)
    cp.add_step()(sent_steps.look_up)
    with pytest.raises(KeyError) as caught:
        cp.run({"n": 2})
    assert (
        "Step 'use_rows' is executed by executor=, and leaves nothing" in caught.value.__notes__[0]
    )


def test_data_of_the_run_stays(forked: Executor, tmp_path: Path) -> None:
    """What is left in `data` there is dropped, and what is in it here stays."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(sent_steps.load_rows, executor=forked)(sent_steps.use_rows)
    data = {"mine": 1}
    cp.run({"n": 2}, data=data)
    assert data == {"mine": 1}


def test_loader_is_always_called(forked: Executor, tmp_path: Path) -> None:
    """In a later step as well, and the plan says so."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step()(do_nothing)
    cp.add_step(sent_steps.load_rows, executor=forked)(sent_steps.use_rows)
    plan = cp.plan()
    assert plan.loads == (False, True)
    assert plan.executors == (None, "ProcessPoolExecutor")
    assert "Executes 'use_rows' in ProcessPoolExecutor." in str(plan)
    assert "in ProcessPoolExecutor" in str(cp.diagram())
    assert cp.run({"n": 3}, load_policy=[False, False])["sum"] == 3


def test_awaitable_is_refused(forked: Executor, tmp_path: Path) -> None:
    """A plain function that returns a coroutine is not executed there."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(executor=forked)(sent_steps.await_nothing)
    with pytest.raises(FlowDefinitionError, match="returned an awaitable"):
        asyncio.run(cp.arun({}))
