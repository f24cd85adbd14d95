"""Carries out rounds of random interruptions of runs, and compares each round with the model.

A round is the work of one process: it starts or resumes runs in one of many ways. The
interruptions come in its calls of steps, loaders and savers, or where it suspends.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fuzz_model import Run, first_state
from fuzzed_flow import INTERRUPTIONS, KINDS, FlowSetup, Process, Spec
from hypothesis import strategies as st
from run_factories import UNFINISHED
from suspension_points import AwaitInterrupter

from aiocheckpoint import DrainingError
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from fuzzed_flow import Call
    from support import State

IDS = ("x", "y")
ACTS = ("fail", "break", "pause", *INTERRUPTIONS)


@dataclass(frozen=True)
class Round:
    """The work of one process, and its interruptions.

    Attributes:
        way: One of WAYS.
        run_id: The run, if the way concerns one.
        acts: The act in each call of a part, counted from 0; all other calls are undisturbed.
        action: The suspension at which one of STROKES comes, and that stroke, or None.
    """

    way: str
    run_id: str
    acts: dict[int, str]
    action: tuple[int, str] | None


@dataclass
class RunHistory:
    """Some runs, and the rounds that they go through.

    Attributes:
        path, kind, specs, keep_data, received: As of the world.
        setup: The flow and the store of the runs.
        runs: The model of each run.
        results: The result of each run in this round: a state, or an exception.
        wrong: The assertions that failed in calls of steps.
    """

    path: Path
    kind: str
    specs: tuple[Spec, ...]
    keep_data: bool
    received: bool
    results: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: list[AssertionError] = field(default_factory=list[AssertionError])

    def __post_init__(self) -> None:
        """Begin with nothing stored."""
        if self.kind == "directory":
            (self.path / "runs").mkdir()
        self.runs = {run_id: Run(run_id) for run_id in IDS}
        facts = (self.path, self.kind, self.specs, self.keep_data, self.received)
        self.setup = FlowSetup(*facts, called=self._called)
        self._acts: dict[int, str] = {}
        self._count = 0

    def _called(self, call: Call) -> str:
        """Check a call against the model, and return its act."""
        run = self.runs[call.step.run_id or ""]
        try:
            run.check_call(self.setup, call)
        except AssertionError as error:
            self.wrong.append(error)
            raise
        act = self._acts.get(self._count, "on")
        self._count += 1
        if call.part == "step" and self.specs[call.index].asks and call.step.step not in call.state:
            act = "pause"
        if act == "pause" and call.part != "step":
            act = "on"
        run.last = (act, call.part, call.step.step)
        return act

    async def play(self, what: Round) -> None:
        """Carry out a round."""
        self._acts, self._count = what.acts, 0
        self.results.clear()
        before = asyncio.all_tasks()
        process = Process(self.setup)
        work = WAYS[what.way](self, process, self.runs[what.run_id])
        points, interruption = (
            ([], "") if what.action is None else ([what.action[0]], what.action[1])
        )

        async def interrupter() -> object:
            return await AwaitInterrupter(work, points, lambda _: process.interrupt(interruption))  # type: ignore[arg-type]

        process.task = asyncio.create_task(interrupter())
        await asyncio.wait([process.task])
        for error in self.wrong:
            raise error
        self._check_end(process, process.task)
        await process.end()
        assert asyncio.all_tasks() == before, "nothing is under way"
        self._look(process)

    def _check_end(self, process: Process, task: asyncio.Task[Any]) -> None:
        """Check that the process raised no other exception than the injected ones."""
        if "kill" in process.interrupted:
            return
        if task.cancelled():
            assert "cancel" in process.interrupted
        elif task.exception() is not None:
            check_error(process, task.exception())

    def _look(self, process: Process) -> None:
        """Compare the stored snapshots with the model."""
        handler = self.setup.handler()
        killed = "kill" in process.interrupted
        headers = {header.run_id: header for header in handler.runs(Query())}
        for run_id, run in self.runs.items():
            header = handler.header(run_id)
            run.see(self.setup, header, handler.read(run_id), killed=killed)
            if header is not None:
                assert killed or headers[run_id].owner is None
            if not killed and run_id in self.results:
                self._check_result(process, run, self.results[run_id])
            with handler.locked(run_id):
                pass
        scraps = [path.name for path in self.path.rglob("*") if path.suffix in {".tmp", ".lock"}]
        assert killed or self.kind == "sqlite" or scraps == []
        close = getattr(handler, "_database", None)
        if close is not None:
            close.close()

    def _check_result(self, process: Process, run: Run, result: object) -> None:
        """Check that the header and the result of a run agree."""
        header = run.header
        if isinstance(result, dict):
            assert header is not None
            assert header.status in {"finished", "paused"}
            index = len(self.specs) if header.finished else header.position
            assert result == run.state_at(self.setup, index, run.reported)
            return
        assert isinstance(result, BaseException)
        check_error(process, result)
        if isinstance(result, DrainingError):
            assert header is None or header.status != "running" or run.at < 0
        elif not isinstance(result, asyncio.CancelledError):
            assert header is not None
            assert header.status == "failed"


def check_error(process: Process, error: BaseException | None) -> None:
    """Check that an exception was injected, and has its note."""
    if isinstance(error, DrainingError):
        assert "drain" in process.interrupted
    elif isinstance(error, asyncio.CancelledError):
        assert "cancel" in process.interrupted
    else:
        assert isinstance(error, (ConnectionError, ValueError)), error
        assert "aiocheckpoint" in "".join(error.__notes__)


# --- the ways to start and to resume runs


async def _arun(history: RunHistory, process: Process, run: Run, **options: Any) -> None:  # noqa: ANN401
    try:
        history.results[run.run_id] = await process.flow.arun(run_id=run.run_id, **options)
    except BaseException as error:
        history.results[run.run_id] = error
        raise


async def given(history: RunHistory, process: Process, run: Run) -> None:
    """Run it with the first state, which is used if no step is done yet."""
    if not run.finished:
        run.begin()
        await _arun(history, process, run, state=first_state())


async def once(history: RunHistory, process: Process, run: Run) -> None:
    """Run it with the first state, if it has not finished."""
    run.begin()
    await _arun(history, process, run, state=first_state(), once=True)


async def go_on(history: RunHistory, process: Process, run: Run) -> None:
    """Resume from the stored state. A paused run gets the update that it waits for."""
    if run.header is None or run.finished:
        return
    update: State | None = None
    if run.paused:
        update = {run.header.next_step or "": "told"}
    run.begin(update=update)
    await _arun(history, process, run, update=update)


async def resume(history: RunHistory, process: Process, run: Run) -> None:
    """Resume without an update, so that a paused run executes its step again."""
    if run.header is not None and not run.finished:
        run.begin()
        await _arun(history, process, run)


async def watch(history: RunHistory, process: Process, run: Run) -> None:
    """Follow its events to the end."""
    run.begin()
    stream = process.flow.astream(first_state(), run_id=run.run_id, once=True)
    reported = [event async for event in stream]
    assert {event.run_id for event in reported} <= {run.run_id}


async def leave(history: RunHistory, process: Process, run: Run) -> None:
    """Follow its events for a while, and leave."""
    run.begin()
    async with aclosing(
        process.flow.astream(first_state(), run_id=run.run_id, once=True)
    ) as reported:
        process.interrupted.add("cancel")
        async for event in reported:
            if "Written" in type(event).__name__:
                break


async def resume_all(history: RunHistory, process: Process, run: Run) -> None:
    """Resume all unfinished runs, except the paused ones."""
    left = {one.run_id for one in history.runs.values() if one.header and not one.finished}
    left -= {one.run_id for one in history.runs.values() if one.paused}
    for run_id in left:
        history.runs[run_id].begin()
    async for result in process.flow.aresume_all(status=UNFINISHED):
        assert result.run_id in left
        history.results[result.run_id] = result.error or result.state
    assert process.interrupted or history.results.keys() == left


async def many(history: RunHistory, process: Process, run: Run) -> None:
    """Run all of them with `once=True`, both at a time or one after another."""
    for one in history.runs.values():
        one.begin()
    pairs = {run_id: first_state() for run_id in history.runs}
    async for result in process.flow.amap(pairs, limit=1 + (run.run_id == "x"), once=True):
        assert result.run_id is not None
        history.results[result.run_id] = result.error or result.state
    assert process.interrupted or history.results.keys() == {*IDS}


WAYS: dict[str, Callable[[RunHistory, Process, Run], Awaitable[None]]] = {
    way.__name__: way for way in (given, once, go_on, resume, watch, leave, resume_all, many)
}

SPECS = st.lists(st.builds(Spec, *[st.booleans()] * 6), min_size=1, max_size=4).map(tuple)
ROUNDS = st.lists(
    st.builds(
        Round,
        way=st.sampled_from([*WAYS]),
        run_id=st.sampled_from(IDS),
        acts=st.dictionaries(st.integers(0, 12), st.sampled_from(ACTS), max_size=4),
        action=st.none() | st.tuples(st.integers(1, 60), st.sampled_from(INTERRUPTIONS)),
    ),
    min_size=1,
    max_size=8,
)
KIND = st.sampled_from(KINDS)
