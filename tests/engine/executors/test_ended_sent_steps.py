"""Cancellations, drains and terminations of runs whose step is sent to an executor."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps
from support import do_nothing

from aiocheckpoint import CheckpointFlow, DrainingError, RunTerminatedError
from aiocheckpoint._concurrency.process_pool import process_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import State

    from aiocheckpoint import Header

BEFORE = 5
"""So many runs fill one worker and the queue before it, and two processes."""


class Sent:
    """A flow whose sent step waits for a file, and its runs.

    Args:
        folder: Where the files and the runs are.
        executor: The executor of the step.
    """

    def __init__(self, folder: Path, executor: Any) -> None:  # noqa: ANN401
        self.file, self._folder = folder / "file", folder
        self.cp = CheckpointFlow(folder / "runs/", fsync=False)
        self.cp.add_step(executor=executor, name="first")(sent_steps.wait_for_file)
        self.cp.add_step(name="second")(do_nothing)

    def begin(self, run_id: str) -> asyncio.Task[State]:
        """Begin a run."""
        given = {"file": str(self.file), "begun": str(self._begun(run_id))}
        return asyncio.create_task(self.cp.arun(given, run_id=run_id))

    def has_begun(self, run_id: str) -> bool:
        """Whether its step was called."""
        return self._begun(run_id).exists()

    def header(self, run_id: str) -> Header:
        """Give what is stored of a run."""
        found: Header = self.cp.handler.header(run_id)
        return found

    async def until_begun(self, run_id: str) -> None:
        """Wait until its step was called."""
        while not self.has_begun(run_id):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)

    async def until_entered(self, run_id: str) -> None:
        """Wait until its run is under way."""
        while (await self.cp.aheader(run_id)) is None:  # noqa: ASYNC110 - it is in a file
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    def _begun(self, run_id: str) -> Path:
        return self._folder / f"{run_id} has begun"


def made(kind: str) -> Any:  # noqa: ANN401
    """Give an executor of few workers."""
    if kind == "process":
        return kind
    if kind == "thread":
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(1, mp_context=get_context("fork"))


@pytest.fixture(params=["process", "fork", "thread"])
def sent(request: pytest.FixtureRequest, pools: object, tmp_path: Path) -> Iterator[Sent]:
    """Give a flow on each kind of executor in turn."""
    executor = made(request.param)
    flow = Sent(tmp_path, executor)
    yield flow
    flow.file.touch()
    flow.cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if executor != "process":
        executor.shutdown()


async def test_cancelled_step_is_waited_for(sent: Sent) -> None:
    """It ends, it is done, and the cancellation is recorded behind it."""
    task = sent.begin("x")
    await sent.until_begun("x")
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    sent.file.touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    header = sent.header("x")
    assert (header.status, header.position) == ("cancelled", 1)
    assert sent.cp.read("x")["waited"]
    assert (await sent.cp.arun(run_id="x"))["waited"]


async def test_second_cancellation_waits_as_well(sent: Sent) -> None:
    """However often the task is cancelled, the step that has begun ends first."""
    task = sent.begin("x")
    await sent.until_begun("x")
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    sent.file.touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent.header("x").position == 1


async def busy(sent: Sent) -> list[asyncio.Task[State]]:
    """Begin so many runs that the step of the next one waits for a worker."""
    tasks = [sent.begin("busy-0")]
    await sent.until_begun("busy-0")
    others = range(1, max(BEFORE, process_count()))
    tasks += [sent.begin(f"busy-{number}") for number in others]
    for number in range(len(tasks)):
        await sent.until_entered(f"busy-{number}")
    return tasks


async def test_cancelled_step_is_withdrawn(sent: Sent) -> None:
    """One that waits for a worker is never called, and its cancellation waits for nobody."""
    tasks = await busy(sent)
    late = sent.begin("late")
    await sent.until_entered("late")
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    assert not any(task.done() for task in tasks)
    sent.file.touch()
    await asyncio.gather(*tasks)
    header = sent.header("late")
    assert (header.status, header.position) == ("cancelled", 0)
    assert not sent.has_begun("late")
    assert (await sent.cp.arun(run_id="late"))["waited"]


async def test_drain(sent: Sent) -> None:
    """The step ends, and no other begins. Its run goes on elsewhere behind it."""
    task = sent.begin("x")
    await sent.until_begun("x")
    assert await sent.cp.adrain(timeout=0.1) == ["x"]
    sent.file.touch()
    with pytest.raises(DrainingError):
        await task
    header = sent.header("x")
    assert (header.status, header.position) == ("stopped", 1)


async def test_termination_by_hand(sent: Sent) -> None:
    """The step ends behind itself, and its run is ended for good."""
    task = sent.begin("x")
    await sent.until_begun("x")
    assert await sent.cp.aterminate("x", "no longer needed") is None
    sent.file.touch()
    with pytest.raises(RunTerminatedError, match="no longer needed"):
        await task
    assert sent.header("x").status == "terminated"


async def test_termination_withdraws(sent: Sent) -> None:
    """A step that waits for a worker is never called."""
    tasks = await busy(sent)
    late = sent.begin("late")
    await sent.until_entered("late")
    await sent.cp.aterminate("late", "no longer needed")
    with pytest.raises(RunTerminatedError):
        await late
    assert not any(task.done() for task in tasks)
    sent.file.touch()
    await asyncio.gather(*tasks)
    assert not sent.has_begun("late")
    assert sent.header("late").status == "terminated"
