"""A rule-based machine that acts in every way on runs in a store, from two processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from run_model import Run
from stepped_runs import ENDS, NAMES, Process, SteppedRun, holds, migrate

from aiocheckpoint import (
    FlowVersionError,
    InvalidValueError,
    LeaseLostError,
    PauseConflictError,
    RunInProgressError,
    RunTerminatedError,
    StateConflictError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulated_stores import SimulatedStore
    from support import State

    from aiocheckpoint._model.current_step import CurrentStep
    from aiocheckpoint._model.header import Status

T = TypeVar("T")
KINDS = (
    (1, 3, 0.0),
    (1, 10, 3600.0),
    (2, 10, 0.0),
    (2, None, 0.0),
    (1, 3, 3600.0),
    (3, 10, 0.0),
)
"""Version, `starts=` and `backoff=` of the flows of the processes, in the order of their start. The
machine begins with two."""
IDS = ("w", "x", "y", "z")
UNFINISHED: tuple[Status, ...] = ("queued", "running", "stopped", "failed", "cancelled")
RUN = st.sampled_from(IDS)
WHERE = st.integers(0, 1)
PICK = st.integers(0, 9)
OFF = st.sampled_from([None, 0, 0, -1, 1])
ORDER = st.sampled_from(["on", "on", "on", *ENDS])
STATUSES = st.sets(st.sampled_from((*UNFINISHED, "paused", "terminated", "finished")), min_size=1)


class RunsMachine(RuleBasedStateMachine):
    """The store, its two processes, and the model of its runs.

    Args:
        store: The store.

    Attributes:
        store: The same.
        processes: The two processes.
        stored: The model of each stored run.
        gone: Ids of the owners that were killed, or that sleep for longer than their lease.
    """

    keep: Literal[1, "all"] = 1
    _started = 0

    def __init__(self, store: SimulatedStore[Any]) -> None:
        """Begin with two processes and nothing stored."""
        super().__init__()
        self.store = store
        self._loop = asyncio.new_event_loop()
        self.processes = [self._start_process(), self._start_process()]
        self.stored: dict[str, Run] = {}
        self.gone: set[str] = set()
        self._begun = 0

    def teardown(self) -> None:
        """End everything, and delete the files."""
        for process in self.processes:
            self._drive(process.cancel())
            self.store.shut_down(process.handler)
        self._loop.close()
        self.store.end()

    def _start_process(self) -> Process:
        """Start a process: a deploy, or one that is withdrawn."""
        version, starts, backoff = KINDS[self._started % len(KINDS)]
        self._started += 1
        return Process(self.store, self._executed, version, starts, backoff, keep=self.keep)

    def _drive(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _executed(self, stepped_run: SteppedRun | None, step: CurrentStep) -> None:
        run = self.stored.get(step.run_id or "")
        if run is not None and (stepped_run is None or run.holder is stepped_run):
            assert step.step not in run.acked, "an acknowledged step is executed once"
            assert step.number == run.number
        if stepped_run is None:
            self._check_alone(step)

    def _check_alone(self, step: CurrentStep) -> None:
        """Check that recovery has no run in a step beside one that may kill the process."""
        for process in self.processes:
            for run_id in process.recovered if step.run_id in process.recovered else ():
                run = self.stored[run_id or ""]
                suspect = run.killed > 1 and process.at[run_id] == NAMES[run.position]
                assert not suspect or process.recovered == {run_id}

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

    def _claim_to_run(self, process: Process, run_id: str) -> bool:
        """Do as `_claim` where a run is to go on, which ends it if its end was asked for."""
        free, run = self._claim(process, run_id), self.stored.get(run_id)
        if free and run is not None:
            run.settle_ending()
        return free

    def _bury(self, owner: str | None) -> None:
        for run in self.stored.values():
            if run.owner == owner:
                run.owner = run.holder = None
                run.killed += 1

    def _bury_all(self, process: Process) -> None:
        self.gone.discard(process.owner)
        for owner in self.gone:
            self._bury(owner)

    # --- running

    @rule(where=WHERE, run_id=RUN, way=st.sampled_from(["given", "resume", "once"]), number=PICK)
    def begin(self, where: int, run_id: str, way: str, number: int) -> None:
        """Start, resume or take over a run, or be refused because it is running."""
        process, given = self.processes[where], None if way == "resume" else {"n": number}
        if self._may_be_refused(run_id, given):
            return
        if way == "once" and self._is_refused_early(run_id, given):
            stepped_run = self._drive(process.begin(run_id, state=given, once=True))
            assert isinstance(stepped_run.error, StateConflictError)
            return
        free, run = self._claim_to_run(process, run_id), self.stored.get(run_id)
        done = way == "once" and run is not None and run.status == "finished"
        terminated = run is not None and run.status == "terminated"
        newer = not done and self._is_refused(process, run, given)
        if free and not done and not newer:
            run = self._planned(process, run_id, given)
        stepped_run = self._drive(process.begin(run_id, state=given, once=way == "once"))
        if not free or run is None:
            assert isinstance(stepped_run.error, RunInProgressError)
        elif terminated:
            assert isinstance(stepped_run.error, RunTerminatedError)
        elif newer:
            assert isinstance(stepped_run.error, FlowVersionError)
        elif done:
            assert stepped_run.result == run.state
        elif self._is_refused_early(run_id, given):
            assert isinstance(stepped_run.error, StateConflictError)
        else:
            self._begun_by(process, run, stepped_run)
            assert stepped_run.at == NAMES[run.position]

    def _may_be_refused(self, run_id: str, given: State | None) -> bool:
        """Whether a run is queued, and the model does not know with which state."""
        run = self.stored.get(run_id)
        return run is not None and run.is_new and run.given is None and given is not None

    def _is_refused_early(self, run_id: str, given: State | None) -> bool:
        """Whether a run was queued with another state. `once=True` asks for no claim then."""
        run = self.stored.get(run_id)
        if run is None or not run.is_new or given is None or run.given is None:
            return False
        return given != run.given

    def _is_refused(self, process: Process, run: Run | None, given: State | None) -> bool:
        """Whether a newer version has stored a run, and it is no end before a new one."""
        if run is None or run.version <= process.version:
            return False
        return run.status != "finished" or given is None

    @staticmethod
    def _begun_by(process: Process, run: Run, stepped_run: SteppedRun) -> None:
        """Note that a stepped run has the run now, and is in its first step."""
        if (run.status == "paused" or run.asked) and run.version < process.version:
            migrate(run.state, run.version)  # Stored at once, as the run is paused no more.
            run.version = process.version
        run.owner, run.holder, run.status = process.owner, stepped_run, "running"
        run.held_by, run.due = process.version, True
        run.starts += 1

    @rule(where=WHERE, run_id=RUN, number=PICK, off=OFF)
    def answer(self, where: int, run_id: str, number: int, off: int | None) -> None:
        """Answer the pause of a run, another pause of it, or a run that is in none.

        Args:
            where: The process that answers.
            run_id: The run.
            number: The answer.
            off: How far the answered pause is from the last one. None to name none.
        """
        process = self.processes[where]
        run = self.stored.get(run_id)
        if run is not None and run.version > process.version:
            return
        wanted = None if run is None or off is None else max(0, run.pauses + off)
        waits = run is not None and run.status == "paused" and wanted in {None, run.pauses}
        # An answer that is known to be late asks for no claim.
        late = run is not None and not waits and self._is_late(run, wanted)
        free = True if late else self._claim_to_run(process, run_id)
        update = {"answer": number}
        stepped_run = self._drive(process.begin(run_id, update=update, answers=wanted))
        if run is not None and run.status == "terminated":
            assert isinstance(stepped_run.error, (PauseConflictError, RunTerminatedError))
        elif run is None or (free and not waits) or late:
            assert isinstance(stepped_run.error, PauseConflictError)
            assert not (late and stepped_run.error.early)
        elif not free:
            assert isinstance(stepped_run.error, RunInProgressError)
        else:
            self._begun_by(process, run, stepped_run)
            run.state, run.asked = {**run.state, **update}, False
            assert stepped_run.at == NAMES[run.position]

    @precondition(lambda self: self.waiting())
    @rule(pick=PICK, answers=st.lists(st.tuples(WHERE, PICK, OFF), min_size=1, max_size=4))
    def pause_and_answer(self, pick: int, answers: list[tuple[int, int, int | None]]) -> None:
        """Let a step pause, and answer it several times from both processes."""
        waiting = self.waiting()
        run_id = waiting[pick % len(waiting)][1].run_id
        self.go_on([(pick, "pause")])
        for where, number, off in answers:
            self.answer(where, run_id, number, off)

    @staticmethod
    def _is_late(run: Run, wanted: int | None) -> bool:
        """Whether a run has ended, or has left the pause behind."""
        if run.status == "paused":
            return wanted is not None and wanted < run.pauses
        ended = run.is_over or run.status in {"failed", "cancelled"}
        return ended or (wanted is not None and wanted < run.pauses + (not run.asked))

    def _planned(self, process: Process, run_id: str, given: State | None) -> Run:
        """The run that starts or resumes. An unfinished one ignores a given state."""
        run = self.stored.get(run_id)
        if run is not None and run.status != "finished":
            return run
        state = dict(given if given is not None else {} if run is None else run.state)
        began_with: State | None = dict(state)
        if given is None and run is not None and run.version < process.version:
            migrate(state, run.version)
            began_with = None
        self._begun += 1
        pauses = 0 if run is None else run.pauses
        run = Run(number=1 if run is None else run.number + 1, begun=self._begun, state=state)
        run.pauses, run.starts = pauses, 0
        run.base, run.version = list(state.get("trail", ())), process.version
        run.given = began_with
        self.stored[run_id] = run
        return run

    @precondition(lambda self: self.waiting())
    @rule(picks=st.lists(st.tuples(PICK, ORDER), min_size=1))
    def go_on(self, picks: list[tuple[int, str]]) -> None:
        """Let some steps end, or break, at once."""
        waiting = self.waiting()
        chosen = {pick % len(waiting): order for pick, order in picks}
        for index, order in chosen.items():
            run = self.stored.get(waiting[index][1].run_id)
            if order.startswith("pause") and (
                run is None or run.version != waiting[index][0].version
            ):
                chosen[index] = "on"  # Its stored state is not migrated yet.
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
        if order.startswith("pause") and run is not None and held:
            assert stepped_run.error is None
            assert stepped_run.result == run.state
            run.ended("paused", due=order == "pause due")
        elif order == "end" and run is not None and held:
            assert isinstance(stepped_run.error, RunTerminatedError)
            assert stepped_run.error.by == "step"
            run.ended("terminated")
        elif order in {"fail", "cancel"}:
            kind = ConnectionError if order == "fail" else asyncio.CancelledError
            assert isinstance(stepped_run.error, kind)
            if run is not None and held:
                due = process.backoff == 0
                run.ended("failed" if order == "fail" else "cancelled", due=due)
        elif run is None or not held:
            # Of a run that was deleted, there is nothing to pause or terminate.
            lost = LeaseLostError if order == "on" else (LeaseLostError, StorageError)
            assert isinstance(stepped_run.error, lost)
        else:
            run.step_done()
            going = run.status == "running"
            assert stepped_run.at == (NAMES[run.position] if going else None)
            assert going or stepped_run.result == run.state

    @rule(where=WHERE)
    def resume_all(self, where: int) -> None:
        """Resume all unfinished runs without an owner, to the end, due or not."""
        process = self.processes[where]
        self._bury_all(process)
        left = {
            run_id: run
            for run_id, run in self.stored.items()
            if run.owner is None and run.status in UNFINISHED and run.version <= process.version
        }
        states = self._drive(_resumed(process))
        for run_id, run in left.items():
            run.settle_ending()
            if run.status != "terminated":
                run.finish(process.version)
                assert states.pop(run_id) == run.state
        assert not states

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
        self.store.suspend(self.processes[where].handler)
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

    def _renewed(self, process: Process) -> None:
        """Let a process be awake, and known as an owner."""
        self.store.delay_heartbeat(process.handler)
        self.store.look_at_owners(process.handler)
        self._bury_all(process)

    def _look_at_owners(self, asker: Process) -> None:
        self.store.look_at_owners(asker.handler)
        self._bury_all(asker)

    # --- actions of users

    @rule(where=WHERE, run_id=RUN, number=PICK, to=st.none() | st.integers(0, len(NAMES)))
    def patch(self, where: int, run_id: str, number: int, to: int | None) -> None:
        """Patch a state, and the position at which it resumes."""
        process = self.processes[where]
        free, run = self._claim(process, run_id), self.stored.get(run_id)
        try:
            process.flow.patch({"patch": number}, to, run_id=run_id)
        except RunInProgressError:
            assert not free
            return
        except InvalidValueError:
            assert run is None
            return
        except FlowVersionError:
            assert free
            assert run is not None
            assert to is not None
            assert run.version > process.version
            return
        assert free
        assert run is not None
        run.state = {**run.state, "patch": number}
        if to is not None:
            run.moved, run.asked, run.is_new = True, False, False
            run.position = to % len(NAMES)
            run.acked &= {*NAMES[:to]}
        if to == len(NAMES):
            run.status = "finished"
        elif to is not None or run.status not in {"queued", "paused", "terminated", "finished"}:
            run.status, run.due = "stopped", False
        run.starts = run.killed = 0

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
        """The store names the owner of each run, and no two stepped runs hold one."""
        rows = self.store.rows()
        assert {row.run_id: row.owner for row in rows} == {
            run_id: run.owner for run_id, run in self.stored.items()
        }
        tokens = {row.row: row.token for row in rows}
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
                (
                    *(one.run_id, one.status, one.position, one.number),
                    one.owner is not None or self._is_stopped(one.run_id),
                )
                for one in process.flow.runs()
            ]

    def _is_stopped(self, run_id: str | None) -> bool:
        """Whether the owner of a run is stopped, so that one look may take it for gone."""
        return self.stored[run_id or ""].owner in self.gone

    @invariant()
    def starts_and_pauses_are_counted(self) -> None:
        """Lists say how often each run was started at its step, and killed there, and paused."""
        for process in self.processes:
            for one in process.flow.runs():
                run = self.stored[one.run_id or ""]
                killed = run.killed + (one.owner is None and run.owner in self.gone)
                assert (one.starts, one.killed, one.pause_number) == (
                    *(run.starts, killed, run.pauses),
                )

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        """The state read of each run is the one acknowledged last."""
        for number, (run_id, run) in enumerate(self.stored.items()):
            read = self.processes[number % 2].flow.read(run_id)
            assert read == {**run.state, "checkpoint_index": run.position}


async def _resumed(process: Process) -> dict[str | None, State]:
    """Resume all, and give their final states."""
    states: dict[str | None, State] = {}
    async for result in process.flow.aresume_all(status=UNFINISHED):
        assert result.error is None
        assert result.state is not None
        assert result.run_id not in states
        states[result.run_id] = result.state
    return states
