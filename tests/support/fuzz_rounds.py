"""Carries out rounds of all sorts of things that happen to runs, and compares each with the model.

A round is what one process does to the runs: it begins or goes on with them in one of many ways,
and what is to happen happens in its calls of steps, loaders and savers, or where it suspends.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fuzz_model import Run, first_state
from fuzzed_flow import INTERRUPTIONS, KINDS, FlowSetup, Process, Spec
from hypothesis import strategies as st
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
    """What one process does, and what happens to it.

    Attributes:
        way: One of WAYS.
        run_id: The run, where it is about one.
        acts: What happens in which call of a part, counted from 0; nothing in all others.
        action: At which suspension which of STROKES comes, or None.
    """

    way: str
    run_id: str
    acts: dict[int, str]
    action: tuple[int, str] | None


@dataclass
class RunHistory:
    """Some runs, and the rounds that they live through.

    Attributes:
        path, kind, specs, keep_data, heard: As of the world.
        setup: Where they are.
        runs: What is known of them.
        results: What came of them in this round: a state, or an exception.
        wrong: What was found wrong in calls of steps.
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
        """See that a call is right, and tell what happens in it."""
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
        """See that nothing else came out of it than was put in."""
        if "kill" in process.interrupted:
            return
        if task.cancelled():
            assert "cancel" in process.interrupted
        elif task.exception() is not None:
            check_error(process, task.exception())

    def _look(self, process: Process) -> None:
        """Compare what is stored with what must be."""
        handler = self.setup.handler()
        killed = "kill" in process.interrupted
        headers = {header.run_id: header for header in handler.runs(Query())}
        for run_id, run in self.runs.items():
            header = handler.header(run_id)
            run.see(self.setup, header, handler.read(run_id))
            if header is not None:
                assert killed or headers[run_id].owner is None
            if not killed and run_id in self.results:
                self._check_result(process, run, self.results[run_id])
            with handler.locked(run_id):
                pass
        scraps = [path.name for path in self.path.rglob("*") if path.suffix in {".tmp", ".lock"}]
        assert killed or self.kind == "sqlite" or scraps == []
        close = getattr(handler, "_store", None)
        if close is not None:
            close.close()

    def _check_result(self, process: Process, run: Run, result: object) -> None:
        """See that the header tells what came of a run, and the other way round."""
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
    """See that an exception is one that was put in, and has its note."""
    if isinstance(error, DrainingError):
        assert "drain" in process.interrupted
    elif isinstance(error, asyncio.CancelledError):
        assert "cancel" in process.interrupted
    else:
        assert isinstance(error, (ConnectionError, ValueError)), error
        assert "aiocheckpoint" in "".join(error.__notes__)


# --- the ways to begin runs, and to go on with them


async def _arun(history: RunHistory, process: Process, run: Run, **options: Any) -> None:  # noqa: ANN401
    try:
        history.results[run.run_id] = await process.flow.arun(run_id=run.run_id, **options)
    except BaseException as error:
        history.results[run.run_id] = error
        raise


async def given(history: RunHistory, process: Process, run: Run) -> None:
    """Run it with the first state, which counts where nothing is done yet."""
    if not run.finished:
        run.begin(anew=True, given=True)
        await _arun(history, process, run, state=first_state())


async def once(history: RunHistory, process: Process, run: Run) -> None:
    """Do so, if it has not finished."""
    run.begin(given=True)
    await _arun(history, process, run, state=first_state(), once=True)


async def go_on(history: RunHistory, process: Process, run: Run) -> None:
    """Go on with what is stored; a run that waits is told what it waits for."""
    if run.header is None or run.finished:
        return
    update: State | None = None
    if run.paused:
        update = {run.header.next_step or "": "told"}
    run.begin(update=update)
    await _arun(history, process, run, update=update)


async def resume(history: RunHistory, process: Process, run: Run) -> None:
    """Go on without a word, so that a run that waits looks for itself."""
    if run.header is not None and not run.finished:
        run.begin()
        await _arun(history, process, run)


async def watch(history: RunHistory, process: Process, run: Run) -> None:
    """Follow its events to the end."""
    run.begin(given=True)
    stream = process.flow.astream(first_state(), run_id=run.run_id, once=True)
    reported = [event async for event in stream]
    assert {event.run_id for event in reported} <= {run.run_id}


async def leave(history: RunHistory, process: Process, run: Run) -> None:
    """Follow its events for a while, and leave."""
    run.begin(given=True)
    async with aclosing(
        process.flow.astream(first_state(), run_id=run.run_id, once=True)
    ) as reported:
        process.interrupted.add("cancel")
        async for event in reported:
            if "Written" in type(event).__name__:
                break


async def resume_all(history: RunHistory, process: Process, run: Run) -> None:
    """Resume all that are unfinished, but for those that wait."""
    left = {one.run_id for one in history.runs.values() if one.header and not one.finished}
    left -= {one.run_id for one in history.runs.values() if one.paused}
    for run_id in left:
        history.runs[run_id].begin()
    async for result in process.flow.aresume_all():
        assert result.run_id in left
        history.results[result.run_id] = result.error or result.state
    assert process.interrupted or history.results.keys() == left


async def many(history: RunHistory, process: Process, run: Run) -> None:
    """Have all of them once, both at a time or one after another."""
    for one in history.runs.values():
        one.begin(given=True)
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
