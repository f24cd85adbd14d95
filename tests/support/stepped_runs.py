"""Runs that a test drives step by step, in simulated processes on one database."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from simulated_processes import owner_of

from aiocheckpoint import CheckpointFlow, Pause, Terminate, current_step
from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from simulated_stores import SimulatedStore
    from support import State

    from aiocheckpoint._model.current_step import CurrentStep
    from aiocheckpoint.handlers.leased._lease import Lease

NAMES = ("a", "b", "c")
ENDS: dict[str, Callable[[str], BaseException]] = {
    "fail": ConnectionError,
    "pause": Pause,
    "pause due": lambda reason: Pause(reason, timedelta(0)),
    "end": Terminate,
}
"""The exceptions that a step raises by an order."""
STEPPED_RUN: ContextVar[SteppedRun | None] = ContextVar("stepped_run", default=None)


class SteppedRun:
    """One call of `arun`, whose steps each wait at a gate before they do anything.

    Attributes:
        run_id: The run.
        lease: The lease that it runs under, once it was made.
        orders: Takes the order for the step at the gate: "on", or one of `ENDS`.
        at: The step that waits at the gate; None before and after all steps.
        result: The result of the call, or None.
        error: The exception of the call, or None.
    """

    def __init__(self, run_id: str) -> None:
        """Begin nothing yet."""
        self.run_id = run_id
        self.lease: Lease | None = None
        self.orders: asyncio.Queue[str] = asyncio.Queue()
        self.at: str | None = None
        self.result: State | None = None
        self.error: BaseException | None = None
        self._arrivals: asyncio.Queue[str | None] = asyncio.Queue()

    def begin(self, call: Coroutine[Any, Any, State]) -> None:
        """Begin the call, on the running loop."""
        self.task = asyncio.ensure_future(self._carry(call))
        self.task.add_done_callback(self._end)

    async def _carry(self, call: Coroutine[Any, Any, State]) -> State:
        STEPPED_RUN.set(self)
        return await call

    def _end(self, task: asyncio.Task[State]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        elif task.exception() is not None:
            self.error = task.exception()
        else:
            self.result = task.result()
        self._arrivals.put_nowait(None)

    async def next(self) -> None:
        """Wait until it is at the next gate, or has ended."""
        self.at = await self._arrivals.get()

    async def wait_for_order(self, name: str) -> str:
        """Wait in a step for the order."""
        self._arrivals.put_nowait(name)
        return await self.orders.get()


class Watched(LeasingHandler[Any]):
    """Records the lease of a stepped run."""

    def lock(self, run_id: str | None = None) -> Lease:
        """Make the lease."""
        lease, stepped_run = super().lock(run_id), STEPPED_RUN.get()
        if stepped_run is not None:
            stepped_run.lease = lease
        return lease


class WatchedSqlite(Watched, SqliteStateHandler):
    """Does so in a database of SQLite."""


def migrate(state: State, version: int) -> None:
    """Note in a state from which version it was taken on."""
    state["from"] = [*state.get("from", ()), version]


class Process:
    """A simulated process that runs a flow of three steps.

    Args:
        store: The store.
        executed: Called with each step that is executed.
        version: The version of the flow. From 1 on, it migrates runs of older ones.
        starts: As of the flow.
        backoff: As of the flow.
        options: The options of the handler.

    Attributes:
        version: The same.
        starts: The same.
        backoff: The same.
        owner: Its id among the owners.
        stepped_runs: Its calls in progress.
        recovered: The runs that recovery has in a step.
        at: The step that recovery has begun last, for each run.
    """

    def __init__(
        self,
        store: SimulatedStore[Any],
        executed: Callable[[SteppedRun | None, CurrentStep], None],
        version: int = 0,
        starts: int | None = 10,
        backoff: float = 10.0,
        **options: Any,  # noqa: ANN401 (passed on as is)
    ) -> None:
        """Start the process, and register it as an owner."""
        self.handler: LeasingHandler[Any] = store.start(**options)
        self._store = store
        self.version, self.starts, self.backoff = version, starts, backoff
        self.flow = CheckpointFlow(
            "simulated",
            handler=self.handler,
            name=self.handler.flow,
            version=version,
            migrate=migrate if version else None,
            starts=starts,
            backoff=backoff,
        )
        self.stepped_runs: list[SteppedRun] = []
        self.recovered: set[str | None] = set()
        self.at: dict[str | None, str] = {}
        self._executed = executed
        for name in NAMES:
            self.flow.add_step(name=name)(self._step)
        self.flow.delete("nothing")
        self.owner = owner_of(self.handler)

    async def _step(self, state: State) -> None:
        stepped_run, step = STEPPED_RUN.get(), current_step()
        order = "on"
        if stepped_run is None:
            self.recovered.add(step.run_id)
            self.at[step.run_id] = step.step
            await asyncio.sleep(0)
        else:
            order = await stepped_run.wait_for_order(step.step)
        self._executed(stepped_run, step)
        self.recovered.discard(step.run_id)
        state["trail"] = [*state.get("trail", ()), step.step]
        if order in ENDS:
            raise ENDS[order](step.step)

    async def begin(self, run_id: str, **options: Any) -> SteppedRun:  # noqa: ANN401
        """Begin a run, and wait until it is at its first gate, or has ended."""
        stepped_run = SteppedRun(run_id)
        stepped_run.begin(self.flow.arun(run_id=run_id, **options))
        await stepped_run.next()
        self.stepped_runs += [stepped_run] if stepped_run.at else []
        return stepped_run

    async def crash(self, opened: list[SteppedRun]) -> None:
        """Die after some steps were executed and before their snapshots are stored."""
        self._store.disconnect(self.handler)
        for stepped_run in opened:
            stepped_run.orders.put_nowait("on")
            await stepped_run.next()
        self._store.kill(self.handler)
        await self.cancel()
        self._store.shut_down(self.handler)

    async def cancel(self) -> None:
        """Cancel all calls in progress."""
        for stepped_run in self.stepped_runs:
            if not stepped_run.task.done():
                stepped_run.task.cancel()
                await stepped_run.next()
        self.stepped_runs = []


def holds(stepped_run: SteppedRun, tokens: dict[int, int]) -> bool:
    """Whether a stepped run believes that it holds its run, and the database agrees."""
    lease = cast("Lease", stepped_run.lease)
    return lease.held and tokens.get(lease.record.row) == lease.record.token
