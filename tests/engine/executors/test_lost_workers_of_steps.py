"""A worker that is lost under a step is not the failure of its run."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps

from aiocheckpoint import CheckpointFlow, DrainingError, ExecutorError, WorkerLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from support import Runner


@pytest.fixture(params=["made", "process"])
def renewed(request: pytest.FixtureRequest, make_pool: Callable[[], Executor]) -> Any:  # noqa: ANN401
    """Give a function that makes pools, and the word for processes of the flow's own."""
    return make_pool if request.param == "made" else "process"


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the losses out of the log, which each test but one does not look at."""
    caplog.set_level(logging.CRITICAL, "aiocheckpoint")


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Callable[..., CheckpointFlow]]:
    """Give a function that makes a flow of one step, whose pools are closed at the end."""
    made: list[CheckpointFlow] = []

    def make(step: Callable[[dict[str, Any]], None], executor: Any) -> CheckpointFlow:  # noqa: ANN401
        cp = CheckpointFlow(tmp_path / "runs/", name="orders", fsync=False)
        cp.add_step(name="step", executor=executor)(step)
        made.append(cp)
        return cp

    yield make
    for cp in made:
        cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_killed_step_is_sent_again(
    renewed: Any,  # noqa: ANN401
    flow: Callable[..., CheckpointFlow],
    runner: Runner,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its run ends, at the same attempt, and the log tells of the loss."""
    cp = flow(sent_steps.die, renewed)
    given = runner(cp, {"mark": str(tmp_path / "mark")}, run_id="order-1")
    assert given["attempt"] == 1
    header = cp.handler.header("order-1")
    assert (header.status, header.failure) == ("finished", None)
    told = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.getMessage().partition(":")[0] for one in told] == [
        "The worker of step 'step' was lost, and the step is sent again"
    ]
    assert [(one.run_id, one.step) for one in told] == [("order-1", "step")]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("quiet")
def test_step_that_always_kills(
    renewed: Any,  # noqa: ANN401
    flow: Callable[..., CheckpointFlow],
    runner: Runner,
    tmp_path: Path,
) -> None:
    """It is sent four times. An error of ours ends its run, which is recorded as failed."""
    cp, tries = flow(sent_steps.die, renewed), tmp_path / "tries"
    with pytest.raises(WorkerLostError) as caught:
        runner(cp, {"always": True, "tries": str(tries)}, run_id="order-1")
    assert len(tries.read_text().split()) == 4
    assert (caught.value.run_id, caught.value.step) == ("order-1", "step")
    assert caught.value.losses == 4
    assert cp.handler.header("order-1").status == "failed"


@pytest.mark.usefixtures("quiet")
async def test_lost_in_a_drain(
    renewed: Any,  # noqa: ANN401
    flow: Callable[..., CheckpointFlow],
    tmp_path: Path,
) -> None:
    """The step is not sent again. The next process begins with it."""
    cp = flow(sent_steps.die_in_the_end, renewed)
    begun, file, tries = tmp_path / "begun", tmp_path / "file", tmp_path / "tries"
    given = {"begun": str(begun), "file": str(file), "tries": str(tries), "mark": f"{file}.mark"}
    run = asyncio.create_task(cp.arun(given, run_id="order-1"))
    while not begun.exists():  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    assert await cp.adrain(timeout=0.1) == ["order-1"]
    file.touch()
    with pytest.raises(DrainingError):
        await run
    header = cp.handler.header("order-1")
    assert (header.status, header.stopped_by, header.position) == ("stopped", "drain", 0)
    assert len(tries.read_text().split()) == 1


@pytest.mark.usefixtures("quiet")
def test_child_of_a_killed_worker(
    flow: Callable[..., CheckpointFlow],
    runner: Runner,
    pools: object,
    tmp_path: Path,
) -> None:
    """A child that the step has forked keeps nobody from seeing that its worker was lost."""
    cp = flow(sent_steps.die_before_child, "process")
    mark, file, left = tmp_path / "mark", tmp_path / "file", tmp_path / "left"
    given = {"mark": str(mark), "file": str(file), "left": str(left)}
    try:
        assert runner(cp, given, run_id="order-1")["attempt"] == 1
        assert not left.exists()
    finally:
        file.touch()
        while mark.exists() and not left.exists():
            time.sleep(0.01)


@pytest.mark.usefixtures("quiet")
async def test_neighbours_of_a_killer(
    renewed: Any,  # noqa: ANN401
    flow: Callable[..., CheckpointFlow],
    tmp_path: Path,
) -> None:
    """A step that kills its process each time ends its own run, and none beside it."""
    cp = flow(sent_steps.die, renewed)
    (tmp_path / "mark").touch()  # Nobody else is killed.
    good = {"mark": str(tmp_path / "mark"), "seconds": 0.01}
    states = [(f"order-{number}", dict(good, always=number == 7)) for number in range(40)]
    failed: dict[str | None, BaseException] = {}
    async with cp:
        async for result in cp.amap(states, limit=40):
            if result.error is not None:
                failed[result.run_id] = result.error
    assert list(failed) == ["order-7"]
    assert isinstance(failed["order-7"], WorkerLostError)


def test_broken_executor_is_not_renewed(
    flow: Callable[..., CheckpointFlow],
    runner: Runner,
    pools: object,
    tmp_path: Path,
) -> None:
    """A pool that was given as it is stays broken, and the error says what to give."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        cp = flow(sent_steps.die, pool)
        with pytest.raises(ExecutorError, match="Give executor= a function that makes one"):
            runner(cp, {"mark": str(tmp_path / "mark")}, run_id="order-1")
        assert cp.handler.header("order-1").status == "failed"


@pytest.mark.usefixtures("quiet")
def test_pool_that_never_begins(
    flow: Callable[..., CheckpointFlow],
    pools: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pool whose workers die before any step begins is given up."""
    monkeypatch.setattr("aiocheckpoint._engine.sent_attempts._MOST_BREAKS", 2)

    def broken() -> Executor:
        context = get_context("fork")
        return ProcessPoolExecutor(1, context, initializer=sent_steps.interrupt, initargs=({},))

    cp = flow(sent_steps.charge, broken)
    with pytest.raises(WorkerLostError):
        cp.run({}, run_id="order-1")


@pytest.mark.usefixtures("quiet")
def test_cursor_of_a_killed_worker(
    renewed: Any,  # noqa: ANN401
    flow: Callable[..., CheckpointFlow],
    runner: Runner,
    tmp_path: Path,
) -> None:
    """The step goes on with the cursor that had come back."""
    cp = flow(sent_steps.die_behind_cursor, renewed)
    given = runner(cp, {"mark": str(tmp_path / "mark")}, run_id="order-1")
    assert given["cursor"] == {"page": 3}
