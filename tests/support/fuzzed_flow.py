"""Flows that are interrupted in all ways, on stores whose processes can be killed.

The interruptions come from outside: the task of a process is cancelled, its flow is drained, or
the process is killed. A killed process gets nothing more done by its store.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulated_processes import KilledError, disconnect, handler_apart, kill, shut_down

from aiocheckpoint import CheckpointFlow, LocalStateHandler, Pause, Retry, current_step
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

    from aiocheckpoint import CurrentStep, StateHandler

KINDS = ("sqlite", "directory", "memory")
INTERRUPTIONS = ("cancel", "drain", "kill")
AT_ONCE = Retry(on=ConnectionError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)
NEVER = 600.0


class KillableLocal(LocalStateHandler):
    """Keeps files, and refuses to write once the process is killed."""

    dead = False

    def replace(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Replace, or not."""
        if self.dead:
            raise KilledError
        return super().replace(*args, **kwargs)


class KillableMemory(MemoryStateHandler):
    """Keeps snapshots in memory, where they outlive a simulated kill of the process."""

    dead = False

    def replace(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Replace, or not."""
        if self.dead:
            raise KilledError
        return super().replace(*args, **kwargs)


@dataclass(frozen=True)
class Spec:
    """One step.

    Attributes:
        coroutine: Whether its parts are coroutine functions.
        loads: Whether it has a loader.
        saves: Whether it has a saver.
        retries: Whether it is tried three times.
        limited: Whether it has a time limit, which is never reached.
        asks: Whether it pauses its run until an update comes.
    """

    coroutine: bool
    loads: bool
    saves: bool
    retries: bool
    limited: bool
    asks: bool


@dataclass(frozen=True)
class Call:
    """A call of a part of a step.

    Attributes:
        index: The index of the step.
        part: "load", "step" or "save".
        step: The current step, as the part sees it.
        state: Its state, as it is in the call.
        data: Its data, as they are in the call.
    """

    index: int
    part: str
    step: CurrentStep
    state: State
    data: State | None


@dataclass
class FlowSetup:
    """The flow of the specs, and the store of its runs.

    Attributes:
        path: The path of the store.
        kind: One of KINDS.
        specs: The steps.
        keep_data: Whether data are stored too.
        received: Whether there is a hook.
        called: Gets each call of a part, and returns its act: "on", "fail" (which is tried
            again), "break", "pause", or one of STROKES.
    """

    path: Path
    kind: str
    specs: tuple[Spec, ...]
    keep_data: bool
    received: bool
    called: Callable[[Call], str]
    memory: MemoryStateHandler = field(default_factory=MemoryStateHandler)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the steps."""
        return tuple(f"s{index}" for index in range(len(self.specs)))

    def handler(self) -> StateHandler:
        """Make a handler as a new process would."""
        if self.kind == "sqlite":
            return handler_apart(self.path / "runs.db", fsync=False)
        if self.kind == "directory":
            return KillableLocal(f"{self.path}/runs/", fsync=False)
        handler = KillableMemory()
        vars(handler).update(vars(self.memory))
        return handler


@dataclass
class Process:
    """One process that runs the flow, and is interrupted.

    Attributes:
        task: The task of its work.
        interrupted: The ways in which it was interrupted.
    """

    setup: FlowSetup
    task: asyncio.Task[Any] | None = None
    interrupted: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        """Start."""
        self.handler = self.setup.handler()
        self._loop = asyncio.get_running_loop()
        self._drain = asyncio.Event()
        self._draining = self._loop.create_task(self._drain_when_asked())
        hooks = [self._hook] if self.setup.received else []
        options: dict[str, Any] = {"hooks": hooks, "keep_data": self.setup.keep_data}
        self.flow = CheckpointFlow(
            self.setup.path, self.handler, name=self.handler.flow or "mixed", **options
        )
        for index, spec in enumerate(self.setup.specs):
            self._add(index, spec)

    async def end(self) -> None:
        """End; none of its work may be running."""
        if not self._drain.is_set():
            self._draining.cancel()
        await asyncio.wait([self._draining])
        if isinstance(self.handler, SqliteStateHandler):
            if "kill" in self.interrupted:
                kill(self.handler)
            shut_down(self.handler)

    def interrupt(self, how: str) -> None:
        """Cancel, drain or kill it, from any thread."""
        self.interrupted.add(how)
        if how == "kill":
            if isinstance(self.handler, SqliteStateHandler):
                disconnect(self.handler)
            else:
                vars(self.handler)["dead"] = True
        assert self.task is not None
        act = self._drain.set if how == "drain" else self.task.cancel
        self._loop.call_soon_threadsafe(act)

    async def _drain_when_asked(self) -> None:
        await self._drain.wait()
        assert await self.flow.adrain() == []

    async def _hook(self, event: object) -> None:
        await asyncio.sleep(0)

    def _add(self, index: int, spec: Spec) -> None:
        load = self._part("load", index, spec) if spec.loads else None
        save = self._part("save", index, spec) if spec.saves else None
        self.flow.add_step(
            *(load, save),
            name=self.setup.names[index],
            retry=AT_ONCE if spec.retries else None,
            timeout=NEVER if spec.limited and spec.coroutine else None,
        )(self._part("step", index, spec))

    def _part(self, part: str, index: int, spec: Spec) -> Callable[..., Any]:
        def body(state: State, data: State | None = None) -> State | None:
            act = self._enter(index, part, state, data)
            return self._leave(index, part, act, state, data)

        async def abody(state: State, data: State | None = None) -> State | None:
            await asyncio.sleep(0)
            act = self._enter(index, part, state, data)
            for _ in range(3):
                await asyncio.sleep(0)
            return self._leave(index, part, act, state, data)

        async def aload(state: State) -> State | None:
            return await abody(state)

        def load(state: State) -> State | None:
            return body(state)

        if part == "load":
            return aload if spec.coroutine else load
        return abody if spec.coroutine else body

    def _enter(self, index: int, part: str, state: State, data: State | None) -> str:
        act = self.setup.called(Call(index, part, current_step(), state, data))
        state["half"] = part
        if data is not None:
            data["half"] = part
        if act in INTERRUPTIONS:
            self.interrupt(act)
        return act

    def _leave(
        self, index: int, part: str, act: str, state: State, data: State | None
    ) -> State | None:
        name = self.setup.names[index]
        if act == "fail":
            raise ConnectionError(name)
        if act == "break":
            raise ValueError(name)
        if act == "pause" and part == "step":
            raise Pause(f"{name} waits")
        del state["half"]
        if part == "step":
            change(state, name)
        if data is not None:
            del data["half"]
            if part == "step":
                data["done"] = [*data.get("done", ()), name]
        return {f"from {name}": "loaded"} if part == "load" else None


def change(state: State, name: str) -> None:
    """Change the state as a step does; the order of steps shows in the result."""
    state["trail"] = [*state["trail"], name]
    state["value"] = (state["value"] * 31 + len(name) + ord(name[-1])) % 1_000_003
