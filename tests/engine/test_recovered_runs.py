"""A run that may be what kills its process is taken alone."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, DrainingError, InvalidValueError
from aiocheckpoint._concurrency import forks
from aiocheckpoint._engine.active_runs import ActiveRuns
from aiocheckpoint._engine.recovered_runs import RecoveredRun, RecoveredRuns
from aiocheckpoint.events import SnapshotWritten, StepFinished

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

TURNS = 20


async def settled() -> None:
    """Let the other tasks go on until they wait."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Entries:
    """Tasks that enter, in the order in which they came in."""

    def __init__(self) -> None:
        """Open the flow's runs."""
        self.runs, self.active_runs = RecoveredRuns(), ActiveRuns("flow", 1)
        self.inside: dict[str, RecoveredRun] = {}

    def enter(self, name: str, *, alone: bool = False) -> asyncio.Task[None]:
        """Start a task that waits until it may begin."""
        return asyncio.ensure_future(self._enter(name, alone=alone))

    async def _enter(self, name: str, *, alone: bool) -> None:
        self.inside[name] = await self.runs.enter(self.active_runs, alone=alone)

    def leave(self, name: str) -> None:
        """Let one of them end."""
        self.inside.pop(name).leave()


async def test_a_suspect_waits_for_the_others_and_they_for_it() -> None:
    """It begins when the last one has ended, and the next ones when it has."""
    entries = Entries()
    tasks = [entries.enter(name) for name in "ab"]
    await settled()
    tasks += [entries.enter("suspect", alone=True), entries.enter("c")]
    await settled()
    assert list(entries.inside) == ["a", "b"]
    entries.leave("a")
    await settled()
    assert list(entries.inside) == ["b"]
    entries.leave("b")
    await settled()
    assert list(entries.inside) == ["suspect"]
    tasks.append(entries.enter("d"))
    await settled()
    assert list(entries.inside) == ["suspect"]
    entries.leave("suspect")
    await settled()
    assert list(entries.inside) == ["c", "d"]
    await asyncio.gather(*tasks)


async def test_past_its_step_it_is_no_suspect() -> None:
    """From the snapshot behind its step on, others begin beside it. A second suspect waits on."""
    entries = Entries()
    tasks = [
        *(entries.enter("suspect", alone=True), entries.enter("other")),
        entries.enter("second", alone=True),
    ]
    await settled()
    (run,) = entries.inside.values()
    place: dict[str, Any] = {"flow": "flow", "run_id": "suspect", "number": 1}
    run.see(SnapshotWritten(position=1, bytes=1, seconds=0.0, **place))
    await settled()
    assert list(entries.inside) == ["suspect"], "that one was written before its step"
    facts: dict[str, Any] = {
        "step": "a",
        "index": 1,
        "of": 3,
        "seconds": {},
        "result_ignored": False,
    }
    run.see(StepFinished(**facts, **place))
    run.see(SnapshotWritten(position=2, bytes=1, seconds=0.0, **place))
    await settled()
    assert list(entries.inside) == ["suspect"], "the second suspect is waited for"
    entries.leave("suspect")
    await settled()
    assert list(entries.inside) == ["second"]
    entries.leave("second")
    await settled()
    assert list(entries.inside) == ["other"]
    await asyncio.gather(*tasks)


async def test_a_drain_ends_the_wait() -> None:
    """A run that waits does not begin, and keeps no other from ending."""
    entries = Entries()
    running = entries.enter("running")
    await settled()
    waiting = [entries.enter("suspect", alone=True), entries.enter("other")]
    await settled()
    entries.active_runs.request_drain()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [DrainingError] * 2
    await running


async def test_a_cancelled_wait_keeps_nobody() -> None:
    """A suspect that is cancelled while it waits is not waited for any more."""
    entries = Entries()
    first, suspect, other = (
        entries.enter("first"),
        entries.enter("suspect", alone=True),
        entries.enter("other"),
    )
    await settled()
    suspect.cancel()
    await settled()
    assert list(entries.inside) == ["first", "other"]
    await asyncio.gather(first, other)


def test_a_closed_loop_keeps_nobody() -> None:
    """Runs of a loop that was closed under them, or dropped with it, are not waited for."""
    entries = Entries()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(entries._enter("closed", alone=True))  # noqa: SLF001
    loop.close()
    _run(entries._enter("first", alone=False))  # noqa: SLF001
    _run(entries._enter("second", alone=True))  # noqa: SLF001
    assert list(entries.inside) == ["closed", "first", "second"]
    entries.inside.clear()
    gc.collect()
    _run(entries._enter("third", alone=True))  # noqa: SLF001


async def test_a_forked_child_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs and the worker of its parent keep nobody there."""
    entries = Entries()
    await entries.enter("suspect", alone=True)
    with entries.runs.working():
        with pytest.raises(InvalidValueError, match="is under way"):
            entries.runs.check_no_awork()
        monkeypatch.setattr(forks, "process", object())
        entries.runs.check_no_awork()
        await asyncio.wait_for(entries.enter("second", alone=True), 10)


async def test_a_flow_is_copied_while_it_works(tmp_path: Path) -> None:
    """The copy has a worker of its own."""
    cp = CheckpointFlow(tmp_path / "runs/")
    cp.add_step()(do_nothing)
    async with aclosing(cp.awork()) as results:
        waiting = asyncio.ensure_future(anext(results))
        await settled()
        for copied in (copy.deepcopy(cp), pickle.loads(pickle.dumps(cp))):
            assert await copied.awork(until_empty=True) == []
        waiting.cancel()
        await asyncio.wait([waiting])


def do_nothing(state: dict[str, Any]) -> None:
    """A step that can be pickled."""


def _run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def test_a_lost_worker_is_none() -> None:
    """A second `awork` is not refused for one whose loop was closed under it."""
    runs = RecoveredRuns()
    loop = asyncio.new_event_loop()

    async def work() -> None:
        with runs.working():
            await asyncio.get_running_loop().create_future()

    task = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
    runs.check_no_awork()
    del task
    gc.collect()
    runs.check_no_awork()
