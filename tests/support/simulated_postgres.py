"""A PostgreSQL database of simulated processes, each with a monotonic clock of its own.

Nothing waits for a lease. A process that is awake has its clock moved on and beats, again and
again, while another one looks. The clock of a suspended process stands still.
"""

# ruff: noqa: SLF001 - the parts that a kill leaves alone have no public name

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import rule
from queued_runs_machine import KeepingRunsMachine, QueuedRunsMachine
from runs_machine import WHERE, RunsMachine
from simulated_processes import disconnect, shut_down
from simulated_stores import OwnedRow, SimulatedStore
from stepped_runs import Watched

from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler
from aiocheckpoint.handlers.leased._store_client import ConnectedClient
from aiocheckpoint.handlers.leased._store_session import StoreSession
from aiocheckpoint.handlers.postgres import PostgresStateHandler

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from stepped_runs import Process, SteppedRun

    from aiocheckpoint.handlers.leased import LeasedStore

LEASE = 3.0
LOOKS = 4
"""As many looks, a third of a lease apart, find each owner that is gone."""


class WatchedPostgres(Watched, PostgresStateHandler):
    """Records the leases of stepped runs."""


class SimulatedClock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """Tell its time."""
        return self.now

    def time(self) -> float:
        """Tell the true time of day."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep in truth."""
        time.sleep(seconds)


class SimulatedServer(SimulatedStore[LeasingHandler[Any]]):
    """A database, and the processes that use it."""

    def __init__(self, server: PostgresServer) -> None:
        """Create the database."""
        self._server, self._name = server, server.create_database()
        self._clocks = dict[LeasingHandler[Any], SimulatedClock]()
        self._awake = set[LeasingHandler[Any]]()

    def start(self, **options: Any) -> WatchedPostgres:  # noqa: ANN401 (passed on as is)
        """Start a process. It begins by a look at the others, as a process does that recovers."""
        url = self._server.url(self._name)
        handler = WatchedPostgres(url, lease=LEASE, flow="simulated", **options)
        clock = self._clocks[handler] = SimulatedClock()
        store = cast("LeasedStore", handler._store)
        client = handler._client = ConnectedClient(store, LEASE, handler.patience)
        client._processor._clock = clock
        client._processor._open_session = partial(StoreSession, store, LEASE, clock)
        if len(self._clocks) == 1:
            self._beat(handler)
            # Real time passes too slowly for the time that the server has been up.
            shift = "UPDATE aiocheckpoint.uptime SET since = since - interval '1 day'"
            self._server.sql(shift, database=self._name)
        self.look_at_owners(handler)
        return handler

    def kill(self, handler: LeasingHandler[Any]) -> None:
        """End a process as SIGKILL would: its sockets are closed, and no lease is released."""
        disconnect(handler)
        self._awake.discard(handler)
        handler._client._processor._take_session(StoreSession.disconnect)
        handler._client.close()

    def shut_down(self, handler: LeasingHandler[Any]) -> None:
        """End a process as an idle one ends."""
        self._awake.discard(handler)
        self._clocks.pop(handler, None)
        shut_down(handler)

    def suspend(self, handler: LeasingHandler[Any]) -> None:
        """Let a process stand still until it is woken."""
        self._awake.discard(handler)

    def wake(self, handler: LeasingHandler[Any]) -> None:
        """Let a process go on. Its clock has gone on before, as that of a stopped process does."""
        if handler not in self._awake:
            self._awake.add(handler)
            self._clocks[handler].now += LEASE

    def delay_heartbeat(self, handler: LeasingHandler[Any]) -> None:
        """Wake a process. It beats at once."""
        self._awake.discard(handler)
        self.wake(handler)
        self._beat(handler)

    def look_at_owners(self, handler: LeasingHandler[Any]) -> None:
        """Let a process look at all others for as long as it takes to find who is gone."""
        self.look_for(handler, LOOKS)

    def look_for(self, handler: LeasingHandler[Any], thirds: int) -> None:
        """Let a process look at all others for so many thirds of a lease, and let them beat."""
        self.wake(handler)
        for _ in range(thirds):
            for one in self._awake:
                self._clocks[one].now += 1.01 * LEASE / 3
                self._beat(one)
            handler._client.call(handler._client._processor.expire_dead)

    def rows(self) -> list[OwnedRow]:
        """Read all runs."""
        rows = (
            "SELECT convert_from(run_id, 'UTF8'), id, token, owner, ending IS NOT NULL "
            "FROM aiocheckpoint.runs"
        )
        return [OwnedRow._make(row) for row in self._server.sql(rows, database=self._name)]

    def end(self) -> None:
        """Drop the database."""
        self._server.drop_database(self._name)

    @staticmethod
    def _beat(handler: LeasingHandler[Any]) -> None:
        handler._client.call(lambda _: None)


class WatchedOwners(RunsMachine):
    """A process that is gone is found by looks over a time, and then it loses all its runs.

    Args:
        server: The server.

    Attributes:
        store: The database.
    """

    store: SimulatedServer

    def __init__(self, server: PostgresServer) -> None:
        """Begin with two processes and nothing stored."""
        super().__init__(SimulatedServer(server))
        self._found = set[str]()

    def _claim(self, process: Process, run_id: str) -> bool:
        self._find_gone(process)
        return super()._claim(process, run_id)

    def _bury_all(self, process: Process) -> None:
        self._find_gone(process)

    def _settle(self, process: Process, stepped_run: SteppedRun, order: str) -> None:
        self._wake(process)
        super()._settle(process, stepped_run, order)

    def _wake(self, process: Process) -> None:
        self.store.wake(process.handler)
        self.gone.discard(process.owner)
        self._found.discard(process.owner)

    def _find_gone(self, process: Process) -> None:
        self._wake(process)
        if self.gone - self._found:
            self.store.look_at_owners(process.handler)
            super()._bury_all(process)
            self._found |= self.gone

    @rule(where=WHERE, thirds=st.integers(1, 2))
    def stop_for_a_moment(self, where: int, thirds: int) -> None:
        """Suspend a process for less than its lease. It keeps its runs."""
        process, asker = self.processes[where], self.processes[1 - where]
        self._renewed(process)
        self.store.suspend(process.handler)
        self.store.look_for(asker.handler, thirds)
        self.store.delay_heartbeat(process.handler)


class QueuedServerMachine(WatchedOwners, QueuedRunsMachine):
    """The machine of queued runs on PostgreSQL."""


class KeepingServerMachine(WatchedOwners, KeepingRunsMachine):
    """The same with all snapshots of each run retained."""
