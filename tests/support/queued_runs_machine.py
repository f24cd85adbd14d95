"""A rule-based machine that also queues runs, ends them for good, and recovers what is due."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from run_model import Run
from runs_machine import PICK, RUN, WHERE, RunsMachine

from aiocheckpoint import (
    InvalidValueError,
    RunInProgressError,
    RunNotFoundError,
    RunTerminatedError,
    StateConflictError,
)
from aiocheckpoint._engine import claimed_runs

if TYPE_CHECKING:
    from simulated_stores import SimulatedStore
    from stepped_runs import Process
    from support import State

    from aiocheckpoint import RunResult
    from aiocheckpoint._runs.streams import Stream

MOST_KILLED = 5
LATER = timedelta(hours=1)


class QueuedRunsMachine(RunsMachine):
    """The machine with the rules of queued runs, of terminated ones, and of recovery.

    The processes of the model are in one process of the system. They look for requests to
    terminate their runs when the machine says so.
    """

    def __init__(self, store: SimulatedStore[Any]) -> None:
        """Begin with two processes and nothing stored."""
        super().__init__(store)
        while claimed_runs._looks.living:  # noqa: SLF001 - of a test before
            time.sleep(0.01)
        self._former, self._looks = claimed_runs._looks, _Looks()  # noqa: SLF001
        claimed_runs._looks = self._looks  # noqa: SLF001

    def teardown(self) -> None:
        """End everything, and delete the files."""
        super().teardown()
        claimed_runs._looks = self._former  # noqa: SLF001

    # --- the queue

    @rule(where=WHERE, run_id=RUN, number=PICK, later=st.booleans(), once=st.booleans())
    def submit(self, where: int, run_id: str, number: int, *, later: bool, once: bool) -> None:
        """Queue a run, or repeat the request for one."""
        process, state = self.processes[where], {"n": number}
        self._renewed(process)
        run = self.stored.get(run_id)
        begun = self.begun_of(run_id)
        due = LATER if later else None
        submission = process.flow.asubmit(dict(state), run_id=run_id, due=due, once=once)
        try:
            header = self._drive(submission)
        except RunTerminatedError:
            assert run is not None
            assert run.status == "terminated"
            return
        except StateConflictError:
            assert run is not None
            assert not run.is_over
            assert run.given != state
            return
        if run is not None and (not run.is_over or (once and run.status == "finished")):
            assert run.is_over or run.given in (None, state)
            assert header.status == run.status
            assert self.begun_of(run_id) == begun
            return
        assert run is None or run.status == "finished"
        self._queued(process, run_id, state, later=later)

    def begun_of(self, run_id: str) -> int:
        """The number of the run that was begun or queued last, under an id."""
        return self.stored[run_id].number if run_id in self.stored else 0

    def _queued(self, process: Process, run_id: str, state: State, *, later: bool) -> None:
        """Note that a run was queued."""
        self._begun += 1
        before = self.stored.get(run_id, Run())
        self.stored[run_id] = Run(
            number=before.number + 1,
            begun=self._begun,
            status="queued",
            state=state,
            given=dict(state),
            pauses=before.pauses,
            starts=0,
            version=process.version,
            due=not later,
            is_new=True,
        )

    @rule(where=WHERE, run_id=RUN)
    def requeue(self, where: int, run_id: str) -> None:
        """Make a run due now."""
        process = self.processes[where]
        self._renewed(process)
        run = self.stored.get(run_id)
        try:
            header = self._drive(process.flow.arequeue(run_id))
        except RunNotFoundError:
            assert run is None
        except RunInProgressError:
            assert run is not None
            assert run.owner is not None
        except InvalidValueError:
            assert run is not None
            assert run.status in {"finished", "paused"}
        else:
            assert run is not None
            assert run.owner is None
            assert run.status not in {"finished", "paused"}
            if run.is_new and run.status == "queued":  # Else a process may have begun it.
                assert header.status == "queued"
            elif run.position:
                assert header.status == "stopped"
            run.status, run.due, run.ending = header.status, True, False
            run.is_new = header.status == "queued"
            run.starts = run.killed = 0

    # --- recovery

    @rule(where=WHERE, works=st.booleans(), limit=st.sampled_from([1, 2, 100]))
    def recover(self, where: int, *, works: bool, limit: int) -> None:
        """Do what is due, and end what was started too often, in one pass or as a worker."""
        process = self.processes[where]
        self._renewed(process)
        due = {run_id: run for run_id, run in self.stored.items() if self._takes(process, run)}
        if works:
            stream = process.flow.awork(limit=limit, until_empty=True)
        else:
            stream = process.flow.aresume_all(limit=limit)
            due = {run_id: run for run_id, run in due.items() if run.status != "queued"}
        results = self._drive(_collected(stream))
        for run_id, run in due.items():
            run.settle_ending()
            if run.status != "terminated":
                self._recovered(process, run, results.pop(run_id))
        assert not results

    @rule(where=WHERE, run_id=RUN, kills=st.integers(1, 6), works=st.booleans())
    def kill_again_and_recover(self, where: int, run_id: str, kills: int, *, works: bool) -> None:
        """Kill the process of a run again and again at one step, and recover what is left."""
        for _ in range(kills):
            self.begin(where, run_id, "resume", 0)
            self.crash(where, set())
        self.recover(1 - where, works=works, limit=100)

    @rule(where=WHERE, run_id=RUN, fails=st.integers(1, 4), works=st.booleans())
    def fail_again_and_recover(self, where: int, run_id: str, fails: int, *, works: bool) -> None:
        """Let a run fail again and again at one step, and recover what is due."""
        for _ in range(fails):
            self.begin(where, run_id, "resume", 0)
            for pick, (_, stepped_run) in enumerate(self.waiting()):
                if stepped_run.run_id == run_id:
                    self.go_on([(pick, "fail")])
                    break
        self.recover(where, works=works, limit=100)

    @staticmethod
    def _takes(process: Process, run: Run) -> bool:
        is_left = run.owner is None and not run.is_over
        return is_left and run.due and run.version <= process.version

    @staticmethod
    def _recovered(process: Process, run: Run, result: RunResult) -> None:
        """Check the result of a run, and note it."""
        most = process.starts
        if most is not None and (run.killed >= MOST_KILLED or run.starts >= most):
            assert isinstance(result.error, RunTerminatedError)
            assert result.error.by == "starts"
            assert result.status == "terminated"
            run.ended("terminated")
        else:
            assert result.error is None
            run.finish(process.version)
            assert result.state == run.state

    # --- ends for good

    @rule(where=WHERE, run_id=RUN, elsewhere=st.booleans())
    def terminate(self, where: int, run_id: str, *, elsewhere: bool) -> None:
        """End a run for good, of this process or of another one.

        Args:
            where: The process that asks.
            run_id: The run.
            elsewhere: Whether the owner sees the request when it looks, or never.
        """
        process, run = self.processes[where], self.stored.get(run_id)
        self._renewed(process)
        owned = run is not None and run.owner is not None
        if elsewhere and run is not None and run.owner is not None:
            process.handler.write_ending(run_id, "no stock")
            run.ending = True
            return
        try:
            header = self._drive(process.flow.aterminate(run_id, "no stock"))
        except RunNotFoundError:
            assert run is None
            return
        except InvalidValueError:
            assert run is not None
            assert run.status == "finished"
            return
        assert run is not None
        if owned:
            assert header is None
            self._end_by_hand(run)
        else:
            assert header is not None
            assert header.status == "terminated"
            if not run.is_over:
                run.ended("terminated")

    @precondition(lambda self: self.waiting())
    @rule(where=WHERE, pick=PICK, elsewhere=st.booleans())
    def terminate_in_step(self, where: int, pick: int, *, elsewhere: bool) -> None:
        """End a run for good that is in a step."""
        waiting = self.waiting()
        self.terminate(where, waiting[pick % len(waiting)][1].run_id, elsewhere=elsewhere)

    @precondition(lambda self: self.waiting())
    @rule(pick=PICK, then=st.sampled_from(["requeue", "begin", "recover", "patch", "submit"]))
    def request_unseen(self, pick: int, then: str) -> None:
        """Ask for the end of a run whose process is killed before it looks."""
        waiting = self.waiting()
        process, stepped_run = waiting[pick % len(waiting)]
        where, run_id = self.processes.index(process), stepped_run.run_id
        self.terminate(1 - where, run_id, elsewhere=True)
        self.crash(where, set())
        match then:
            case "requeue":
                self.requeue(1 - where, run_id)
            case "begin":
                self.begin(where, run_id, "resume", pick)
            case "recover":
                self.recover(where, works=True, limit=100)
            case "patch":
                self.patch(1 - where, run_id, pick, None)
            case _:
                self.submit(where, run_id, pick, later=False, once=False)

    @precondition(lambda self: any(run.ending for run in self.stored.values()))
    @rule()
    def look_for_endings(self) -> None:
        """Let the processes look whether runs of theirs are to end."""
        self._looks.look()
        for run in list(self.stored.values()):
            if run.ending and run.holder is not None:
                self._end_by_hand(run)

    @invariant()
    def requests_are_kept(self) -> None:
        """The store has the requests that nobody has seen, and no others."""
        asked = sorted(row.run_id for row in self.store.rows() if row.is_ending)
        assert asked == sorted(run_id for run_id, run in self.stored.items() if run.ending)

    def _end_by_hand(self, run: Run) -> None:
        """Let a stepped run end that was asked to."""
        stepped_run = run.holder
        assert stepped_run is not None
        self._drive(stepped_run.next())
        assert not stepped_run.at
        assert isinstance(stepped_run.error, RunTerminatedError)
        assert stepped_run.error.by == "hand"
        for process in self.processes:
            if stepped_run in process.stepped_runs:
                process.stepped_runs.remove(stepped_run)
        run.ended("terminated")


class KeepingRunsMachine(QueuedRunsMachine):
    """The same machine with all snapshots of each run retained."""

    keep = "all"


class _Looks(claimed_runs._Looks):  # noqa: SLF001
    """Looks for requests when it is told to, and waits until all were seen."""

    def start(self) -> None:
        """Start no thread."""

    def look(self) -> None:
        """Look."""
        for look in self.begin():
            look.result()


async def _collected(stream: Stream[RunResult]) -> dict[str | None, RunResult]:
    """Give the results by run."""
    results: dict[str | None, RunResult] = {}
    async for result in stream:
        assert result.run_id not in results
        results[result.run_id] = result
    return results
