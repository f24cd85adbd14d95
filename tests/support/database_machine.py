"""The machines of runs on a database of SQLite, whose owners are known by their processes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from queued_runs_machine import KeepingRunsMachine, QueuedRunsMachine
from runs_machine import WHERE, RunsMachine
from simulated_processes import let_lease_pass
from simulated_stores import SimulatedDatabase

from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from simulated_processes import Body
    from stepped_runs import Process


def handler_of(process: Process) -> SqliteStateHandler:
    """Give the handler of a process."""
    assert isinstance(process.handler, SqliteStateHandler)
    return process.handler


class StoppedProcesses(RunsMachine):
    """Processes that the system has stopped, and some that only renew nothing.

    Args:
        body: A real process, which stands for one of the two where it is stopped.
    """

    def __init__(self, body: Body) -> None:
        """Begin with two processes and nothing stored."""
        super().__init__(SimulatedDatabase())
        self._body = body

    @rule(where=WHERE, looks=st.integers(1, 5))
    def block_heartbeat(self, where: int, looks: int) -> None:
        """Let leases pass in which a living process renews nothing. It keeps its runs."""
        process, asker = self.processes[where], self.processes[1 - where]
        self._renewed(process)
        for _ in range(looks):
            self._look_at_owners(asker)
            let_lease_pass(handler_of(asker))
        self._look_at_owners(asker)

    @precondition(lambda _: sys.platform == "linux")
    @rule(where=WHERE, goes_on=st.booleans())
    def stop(self, where: int, *, goes_on: bool) -> None:
        """Stop a process by SIGSTOP for longer than its lease, or twice, with a moment between.

        It loses its runs where another process saw it stopped at both ends of a lease.
        """
        process, asker = self.processes[where], self.processes[1 - where]
        self._renewed(process)
        self._body.stand_for(handler_of(process))
        with self._body.stopped():
            self._look_at_owners(asker)
            let_lease_pass(handler_of(asker))
            if not goes_on:
                self._look_at_owners(asker)
                self._bury(process.owner)
                self.store.delay_heartbeat(process.handler)
        if goes_on:
            with self._body.stopped():
                self._look_at_owners(asker)


class QueuedDatabaseMachine(StoppedProcesses, QueuedRunsMachine):
    """The machine of queued runs on a database."""


class KeepingDatabaseMachine(StoppedProcesses, KeepingRunsMachine):
    """The same with all snapshots of each run retained."""
