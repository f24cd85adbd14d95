"""Runs that go on step by step as a test tells them to, in simulated processes on one database."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from simulated import deafen, handler_apart, kill, owner_of, shut_down

from aiocheckpoint import CheckpointFlow, current_step
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from support import State

    from aiocheckpoint._model.current_step import CurrentStep
    from aiocheckpoint.handlers.sqlite._lease import Lease

NAMES = ("a", "b", "c")
PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)


class Passage:
    """One call of `arun`, whose steps each wait at a gate before they do anything.

    Attributes:
        run_id: The run.
        lease: The lease that it runs under, once it was made.
        orders: Takes what the step at the gate is to do: "on" or "fail".
        at: The step that waits at the gate; None before and behind.
        result: What the call returned, or
        error: what came out of it.
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
        PASSAGE.set(self)
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

    async def wait_at_gate(self, name: str) -> str:
        """Wait in a step for the order."""
        self._arrivals.put_nowait(name)
        return await self.orders.get()


class Watched(SqliteStateHandler):
    """Tells a passage what lease it runs under."""

    def lock(self, run_id: str | None = None) -> Lease:
        """Make the lease."""
        lease, passage = super().lock(run_id), PASSAGE.get()
        if passage is not None:
            passage.lease = lease
        return lease


class Process:
    """A simulated process that runs a flow of three steps on a database.

    Args:
        path: The database.
        executed: Is told each step that is executed, when it is.
        options: Those of the handler.

    Attributes:
        owner: Its id among the owners.
        passages: What is under way in it.
    """

    def __init__(
        self,
        path: Path,
        executed: Callable[[Passage | None, CurrentStep], None],
        **options: Any,  # noqa: ANN401 (passed on as is)
    ) -> None:
        """Start it, and let it say that it lives."""
        self.handler = handler_apart(path, Watched, fsync=False, **options)
        self.flow = CheckpointFlow(path, handler=self.handler, name=self.handler.flow)
        self.passages: list[Passage] = []
        self._executed = executed
        for name in NAMES:
            self.flow.add_step(name=name)(self._step)
        self.flow.delete("nothing")
        self.owner = owner_of(self.handler)

    async def _step(self, state: State) -> None:
        passage, step = PASSAGE.get(), current_step()
        order = "on" if passage is None else await passage.wait_at_gate(step.step)
        self._executed(passage, step)
        state["trail"] = [*state.get("trail", ()), step.step]
        if order == "fail":
            raise ConnectionError(step.step)

    async def begin(self, run_id: str, **options: Any) -> Passage:  # noqa: ANN401
        """Begin a run, and wait until it is at its first gate, or has ended."""
        passage = Passage(run_id)
        passage.begin(self.flow.arun(run_id=run_id, **options))
        await passage.next()
        self.passages += [passage] if passage.at else []
        return passage

    async def crash(self, opened: list[Passage]) -> None:
        """Die while the steps of some passages have been executed, and nothing tells of it."""
        deafen(self.handler)
        for passage in opened:
            passage.orders.put_nowait("on")
            await passage.next()
        kill(self.handler)
        await self.cancel()
        shut_down(self.handler)

    async def cancel(self) -> None:
        """Cancel all that is under way."""
        for passage in self.passages:
            if not passage.task.done():
                passage.task.cancel()
                await passage.next()
        self.passages = []


def holds(passage: Passage, tokens: dict[int, int]) -> bool:
    """Whether a passage believes that it holds its run, and the database agrees."""
    lease = cast("Lease", passage.lease)
    return lease.held and tokens.get(lease.record.row) == lease.record.token
