"""A rule-based machine that acts in every way on runs in a database, from two processes."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulated_processes import looking, shut_down, suspend
from stepped_runs import NAMES, Process, SteppedRun, holds

from aiocheckpoint import InvalidValueError, LeaseLostError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from support import State

    from aiocheckpoint._model.current_step import CurrentStep
    from aiocheckpoint._model.header import Status

T = TypeVar("T")
IDS = ("w", "x", "y", "z")
UNFINISHED: tuple[Status, ...] = ("running", "stopped", "failed", "cancelled")
RUN = st.sampled_from(IDS)
WHERE = st.integers(0, 1)
PICK = st.integers(0, 9)
STATUSES = st.sets(st.sampled_from((*UNFINISHED, "finished")), min_size=1)


@dataclass
class Run:
    """The model of a stored run.

    Attributes:
        owner: Id of the process that owns it, as the database has it.
        holder: The stepped run whose writes count.
        base: The trail that it began with.
        acked: The steps of this run number that are done.
        moved: Whether a patch put it to another step.
    """

    number: int = 0
    begun: int = 0
    status: Status = "running"
    position: int = 0
    state: State = field(default_factory=dict[str, Any])
    owner: str | None = None
    holder: SteppedRun | None = None
    base: list[str] = field(default_factory=list[str])
    acked: set[str] = field(default_factory=set[str])
    moved: bool = False

    def ended(self, status: Status) -> None:
        """Note the end of a stepped run."""
        self.status, self.owner, self.holder = status, None, None

    def step_done(self) -> None:
        """Note that a step was acknowledged."""
        name = NAMES[self.position]
        assert name not in self.acked
        self.acked.add(name)
        self.state = {**self.state, "trail": [*self.state.get("trail", ()), name]}
        self.status, self.position = "running", self.position + 1
        if self.position == len(NAMES):
            self.ended("finished")
            self.position = 0
            assert self.moved or self.state["trail"] == [*self.base, *NAMES]


class RunsMachine(RuleBasedStateMachine):
    """The database, its two processes, and the model of its runs.

    Attributes:
        stored: The model of each stored run.
        gone: Ids of the owners that were killed, or that sleep for longer than their lease.
    """

    keep: Literal[1, "all"] = 1

    def __init__(self) -> None:
        """Begin with two processes and nothing stored."""
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name, "runs.db")
        self._loop = asyncio.new_event_loop()
        self.processes = [self._start_process(), self._start_process()]
        self.stored: dict[str, Run] = {}
        self.gone: set[str] = set()
        self._begun = 0

    def teardown(self) -> None:
        """End everything, and delete the files."""
        for process in self.processes:
            self._drive(process.cancel())
            shut_down(process.handler)
        self._loop.close()
        self._directory.cleanup()

    def _start_process(self) -> Process:
        return Process(self.path, self._executed, keep=self.keep)

    def _drive(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _executed(self, stepped_run: SteppedRun | None, step: CurrentStep) -> None:
        run = self.stored.get(step.run_id or "")
        if run is not None and (stepped_run is None or run.holder is stepped_run):
            assert step.step not in run.acked, "an acknowledged step is executed once"
            assert step.number == run.number

    def waiting(self) -> list[tuple[Process, SteppedRun]]:
        """The stepped runs that wait at a gate."""
        return [(one, each) for one in self.processes for each in one.stepped_runs]

    # --- claims

    def _claim(self, process: Process, run_id: str) -> bool:
        """Whether a process gets a run, and the effects of its claim on the model."""
        self.gone.discard(process.owner)
        run = self.stored.get(run_id)
        if run is not None and run.owner in self.gone:
            self._bury(run.owner)
        return run is None or run.owner is None

    def _bury(self, owner: str | None) -> None:
        for run in self.stored.values():
            if run.owner == owner:
                run.owner = run.holder = None

    def _bury_all(self, process: Process) -> None:
        self.gone.discard(process.owner)
        for owner in self.gone:
            self._bury(owner)

    # --- running

    @rule(where=WHERE, run_id=RUN, way=st.sampled_from(["given", "resume", "once"]), number=PICK)
    def begin(self, where: int, run_id: str, way: str, number: int) -> None:
        """Start, resume or take over a run, or be refused because it is running."""
        process = self.processes[where]
        free, run = self._claim(process, run_id), self.stored.get(run_id)
        given = None if way == "resume" else {"n": number}
        done = way == "once" and run is not None and run.status == "finished"
        if free and not done:
            run = self._planned(run_id, given, way)
        stepped_run = self._drive(process.begin(run_id, state=given, once=way == "once"))
        if not free or run is None:
            assert isinstance(stepped_run.error, RunInProgressError)
        elif done:
            assert stepped_run.result == run.state
        else:
            run.owner, run.holder = process.owner, stepped_run
            assert stepped_run.at == NAMES[run.position]

    def _planned(self, run_id: str, given: State | None, way: str) -> Run:
        """The run that starts or resumes."""
        run = self.stored.get(run_id)
        again = given is None or way == "once"  # the same request, tried again
        if run is not None and run.status != "finished" and (run.position or again):
            return run
        state = dict(given if given is not None else {} if run is None else run.state)
        self._begun += 1
        run = Run(number=1 if run is None else run.number + 1, begun=self._begun, state=state)
        run.base = list(state.get("trail", ()))
        self.stored[run_id] = run
        return run

    @precondition(lambda self: self.waiting())
    @rule(picks=st.lists(st.tuples(PICK, st.sampled_from(["on", "on", "on", "fail"])), min_size=1))
    def go_on(self, picks: list[tuple[int, str]]) -> None:
        """Let some steps end, or break, at once."""
        waiting = self.waiting()
        chosen = {pick % len(waiting): order for pick, order in picks}
        for index, order in chosen.items():
            waiting[index][1].orders.put_nowait(order)
        for index, order in chosen.items():
            process, stepped_run = waiting[index]
            self._drive(stepped_run.next())
            self._settle(process, stepped_run, order)

    @precondition(lambda self: self.waiting())
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Cancel a run in a step."""
        waiting = self.waiting()
        process, stepped_run = waiting[pick % len(waiting)]
        stepped_run.task.cancel()
        self._drive(stepped_run.next())
        self._settle(process, stepped_run, "cancel")

    def _settle(self, process: Process, stepped_run: SteppedRun, order: str) -> None:
        """Check the outcome of a step, and note it."""
        self.gone.discard(process.owner)
        run = self.stored.get(stepped_run.run_id)
        held = run is not None and run.holder is stepped_run
        if not stepped_run.at:
            process.stepped_runs.remove(stepped_run)
        if order != "on":
            kind = ConnectionError if order == "fail" else asyncio.CancelledError
            assert isinstance(stepped_run.error, kind)
            if run is not None and held:
                run.ended("failed" if order == "fail" else "cancelled")
        elif run is None or not held:
            assert isinstance(stepped_run.error, LeaseLostError)
        else:
            run.step_done()
            going = run.status == "running"
            assert stepped_run.at == (NAMES[run.position] if going else None)
            assert going or stepped_run.result == run.state

    @rule(where=WHERE)
    def resume_all(self, where: int) -> None:
        """Resume all unfinished runs without an owner, to the end."""
        process = self.processes[where]
        self._bury_all(process)
        left = {
            run_id: run
            for run_id, run in self.stored.items()
            if run.owner is None and run.status != "finished"
        }
        states = self._drive(_resumed(process))
        assert states.keys() == left.keys()
        for run_id, run in left.items():
            while run.status != "finished":
                run.step_done()
            assert states[run_id] == run.state

    # --- faults of processes

    @rule(where=WHERE, picks=st.sets(PICK))
    def crash(self, where: int, picks: set[int]) -> None:
        """Kill a process, some of its steps executed and not stored, and start it again."""
        process = self.processes[where]
        opened = [one for number, one in enumerate(process.stepped_runs) if number in picks]
        self._drive(process.crash(opened))
        self.gone.add(process.owner)
        for run in self.stored.values():
            run.holder = None if run.owner == process.owner else run.holder
        # Each process begins by releasing the runs of dead owners.
        self.processes[where] = self._start_process()
        self._bury_all(self.processes[where])

    @rule(where=WHERE)
    def sleep(self, where: int) -> None:
        """Suspend a process for longer than its lease. It continues unchanged afterwards."""
        suspend(self.processes[where].handler)
        self.gone.add(self.processes[where].owner)

    @precondition(lambda self: self.waiting())
    @rule(pick=PICK, order=st.sampled_from(["on", "fail"]), number=PICK)
    def wake_too_late(self, pick: int, order: str, number: int) -> None:
        """Suspend a process, take one of its runs over, and let the process continue with it."""
        waiting = self.waiting()
        process, stepped_run = waiting[pick % len(waiting)]
        where = self.processes.index(process)
        self.sleep(where)
        self.begin(1 - where, stepped_run.run_id, "resume", number)
        stepped_run.orders.put_nowait(order)
        self._drive(stepped_run.next())
        self._settle(process, stepped_run, order)

    # --- actions of users

    @rule(where=WHERE, run_id=RUN, number=PICK, to=st.none() | st.integers(0, len(NAMES)))
    def patch(self, where: int, run_id: str, number: int, to: int | None) -> None:
        """Patch a state, and the position at which it resumes."""
        process = self.processes[where]
        free, run = self._claim(process, run_id), self.stored.get(run_id)
        try:
            process.flow.patch(run_id, {"patch": number}, to)
        except RunInProgressError:
            assert not free
            return
        except InvalidValueError:
            assert run is None
            return
        assert free
        assert run is not None
        run.state = {**run.state, "patch": number}
        if to is not None:
            run.moved = True
            run.position = to % len(NAMES)
            run.acked &= {*NAMES[:to]}
        if to == len(NAMES):
            run.status = "finished"
        elif to is not None or run.status != "finished":
            run.status = "stopped"

    @rule(where=WHERE, run_id=RUN)
    def delete(self, where: int, run_id: str) -> None:
        """Delete a run that is not running."""
        process = self.processes[where]
        free = self._claim(process, run_id)
        try:
            there = process.flow.delete(run_id)
        except RunInProgressError:
            assert not free
        else:
            assert free
            assert there == (self.stored.pop(run_id, None) is not None)

    @rule(where=WHERE, statuses=STATUSES)
    def prune(self, where: int, statuses: set[Status]) -> None:
        """Delete all runs of some statuses that are not running."""
        process = self.processes[where]
        self._bury_all(process)
        old = [
            run_id
            for run_id, run in self.stored.items()
            if run.owner is None and run.status in statuses
        ]
        assert process.flow.prune(0, statuses) == len(old)
        for run_id in old:
            del self.stored[run_id]

    @rule(where=WHERE, statuses=STATUSES, limit=st.none() | st.integers(1, 3))
    def look(self, where: int, statuses: set[Status], limit: int | None) -> None:
        """List some runs."""
        headers = self.processes[where].flow.runs(statuses, limit=limit)
        wanted = [one for one in self._newest_first() if self.stored[one].status in statuses]
        assert [header.run_id for header in headers] == wanted[:limit]

    def _newest_first(self) -> list[str]:
        return sorted(self.stored, key=lambda one: self.stored[one].begun, reverse=True)

    # --- invariants

    @invariant()
    def one_owner(self) -> None:
        """The database names the owner of each run, and no two stepped runs hold one."""
        with looking(self.path) as connection:
            rows = connection.execute("SELECT run_id, id, token, owner FROM runs").fetchall()
        assert {run_id: owner for run_id, _, _, owner in rows} == {
            run_id: run.owner for run_id, run in self.stored.items()
        }
        tokens = {row: token for _, row, token, _ in rows}
        holders = [stepped_run for _, stepped_run in self.waiting() if holds(stepped_run, tokens)]
        wanted = [run.holder for run in self.stored.values() if run.holder is not None]
        assert sorted(map(id, holders)) == sorted(map(id, wanted))

    @invariant()
    def list_is_true(self) -> None:
        """Each process lists each run with its true status, the newest first."""
        wanted = [
            (run_id, run.status, run.position, run.number, run.owner is not None)
            for run_id, run in ((one, self.stored[one]) for one in self._newest_first())
        ]
        for process in self.processes:
            assert wanted == [
                (one.run_id, one.status, one.position, one.number, one.owner is not None)
                for one in process.flow.runs()
            ]

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        """The state read of each run is the one acknowledged last."""
        for number, (run_id, run) in enumerate(self.stored.items()):
            read = self.processes[number % 2].flow.read(run_id)
            assert read == {**run.state, "checkpoint_index": run.position}


class KeepingRunsMachine(RunsMachine):
    """The same machine with all snapshots of each run retained."""

    keep = "all"


async def _resumed(process: Process) -> dict[str | None, State]:
    """Resume all, and give their final states."""
    states: dict[str | None, State] = {}
    async for result in process.flow.aresume_all():
        assert result.error is None
        assert result.state is not None
        assert result.run_id not in states
        states[result.run_id] = result.state
    return states
