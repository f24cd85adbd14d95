"""Shared tools of the tests: flows that record their calls, the runners, looks at stored files."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import dill  # type: ignore[import-untyped]
import pytest

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.events import RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping
    from pathlib import Path

    from aiocheckpoint import Header, Plan

State: TypeAlias = dict[str, Any]
T = TypeVar("T")

NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Runner:
    """One way into a flow: "run", "arun", or "notebook" (`run` while a loop already runs)."""

    name: str

    def __call__(self, cp: CheckpointFlow, *args: object, **kwargs: object) -> State:
        """Run the flow through this runner."""
        return self._enter(cp.run, cp.arun, args, kwargs)

    def plan(self, cp: CheckpointFlow, *args: object, **kwargs: object) -> Plan:
        """Ask the flow for its plan through this runner."""
        return self._enter(cp.plan, cp.aplan, args, kwargs)

    def allowed_plan(self, cp: CheckpointFlow, *args: object, **kwargs: object) -> Plan:
        """Ask the flow for its plan, and raise the refusal that it describes."""
        plan = self.plan(cp, *args, **kwargs)
        if plan.refused is not None:
            raise plan.refused
        return plan

    def reset(self, cp: CheckpointFlow) -> None:
        """Delete the flow's snapshot, through this runner."""
        self._enter(cp.reset, cp.areset, (), {})

    def do(self, cp: CheckpointFlow, method: str, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Call a method of the flow, or its twin, through this runner."""
        return self._enter(getattr(cp, method), getattr(cp, f"a{method}"), args, kwargs)

    def read(self, handler: LocalStateHandler) -> State:
        """Read from a local handler through this runner."""
        return self._enter(handler.read, handler.aread, (), {})

    def write(self, handler: LocalStateHandler, state: State) -> None:
        """Write to a local handler through this runner."""
        self._enter(handler.write, handler.awrite, (state,), {})

    def _enter(
        self,
        call: Callable[..., T],
        acall: Callable[..., Coroutine[Any, Any, T]],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> T:
        if self.name == "arun":
            return asyncio.run(acall(*args, **kwargs))
        if self.name == "run":
            return call(*args, **kwargs)

        async def notebook() -> T:
            return call(*args, **kwargs)

        return asyncio.run(notebook())


@dataclass
class FlowFactory:
    """Builds flows whose steps record their calls and fail on request.

    Attributes:
        path: Where the flows store their snapshots.
        log: The calls, in order, as "load a", "step a", "save a".
        faults: The exceptions to raise, by part and name, after the state was changed in place.
        events: Every event of every flow built here.
        asynchronous: Whether loaders, steps and savers are coroutine functions.
    """

    path: Path
    log: list[str] = field(default_factory=list[str])
    faults: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    events: list[object] = field(default_factory=list[object])
    asynchronous: bool = False

    def flow(self, *names: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make a flow of recording steps, each with a loader and a saver."""
        cp = CheckpointFlow(self.path, hooks=[self.events.append], **options)
        for name in names or NAMES:
            self.add(cp, name)
        return cp

    def add(self, cp: CheckpointFlow, name: str, **options: Any) -> None:  # noqa: ANN401
        """Add one recording step to a flow."""
        load, save = self._part("load", name), self._part("save", name)
        cp.add_step(load=load, save=save, name=name, **options)(self._part("step", name))

    def ran(self, part: str = "step") -> list[str]:
        """Names of the steps whose given part was called, in order."""
        return [name for what, name in map(str.split, self.log) if what == part]

    def plans(self) -> list[Plan]:
        """The plans that runs have started with."""
        return [event.plan for event in self.events if isinstance(event, RunStarted)]

    def stored(self) -> State:
        """The state that the handler reads from the file."""
        return LocalStateHandler(self.path).read()

    def header(self) -> Header:
        """The header of the stored snapshot, which must exist."""
        header = LocalStateHandler(self.path).header()
        assert header is not None
        return header

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and time of change of every file beside the snapshot."""
        found = sorted(self.path.parent.rglob("*")) if self.path.parent.is_dir() else []
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in found if p.is_file()}

    def _part(self, part: str, name: str) -> Callable[..., Any]:
        def body(state: State, data: State | None = None) -> State | None:
            self.log.append(f"{part} {name}")
            assert "checkpoint_index" not in state
            if part == "load":
                state.setdefault("loads", []).append(name)
            if part == "step":
                state.setdefault("trail", []).append(name)
                assert data is not None
                data[name] = "made"
            fault = self.faults.get(f"{part} {name}")
            if fault is not None:
                raise fault
            return {name: "loaded"} if part == "load" else None

        async def abody(state: State, data: State | None = None) -> State | None:
            await asyncio.sleep(0)
            return body(state, data)

        async def aload(state: State) -> State | None:
            return await abody(state)

        def load(state: State) -> State | None:
            return body(state)

        if part == "load":
            return aload if self.asynchronous else load
        return abody if self.asynchronous else body


def do_nothing(state: State) -> None:
    """Do nothing: a step for flows that test loaders and savers."""


def add_with(cp: CheckpointFlow, name: str, part: str, call: Callable[..., Any]) -> None:
    """Add a step with the call as its loader, step or saver; its other parts do nothing."""
    if part == "load":
        cp.add_step(load=call, name=name)(do_nothing)
    elif part == "save":
        cp.add_step(save=call, name=name)(do_nothing)
    else:
        cp.add_step(name=name)(call)


def make_stored(flows: FlowFactory, kind: str, state: State | None = None, *names: str) -> None:
    """Bring the factory's file into a state, by real runs.

    Args:
        flows: The factory whose file to prepare; its log is empty afterwards.
        kind: "nothing", "empty file", "finished", "stopped at N" (with `until=`), or "failed at N".
        state: The dict that the preparing run is given.
        names: The steps of the preparing flow, by default a, b, c.
    """
    steps = names or NAMES
    if kind == "empty file":
        flows.path.touch()
    elif kind == "finished":
        flows.flow(*steps).run(state)
    elif kind.startswith("stopped at"):
        flows.flow(*steps).run(state, until=int(kind[-1]) - 1)
    elif kind.startswith("failed at"):
        _fail_at(flows, steps, int(kind[-1]), state)
    flows.log.clear()
    flows.events.clear()


def _fail_at(flows: FlowFactory, steps: tuple[str, ...], index: int, state: State | None) -> None:
    error = OSError("the world was not ready")
    flows.faults[f"step {steps[index]}"] = error
    try:
        flows.flow(*steps).run(state)
    except OSError as raised:
        if raised is not error:
            raise
    flows.faults.clear()


def dump_bare(path: Path, value: object) -> None:
    """Write a value as gumly does: dill's bytes and nothing else."""
    path.write_bytes(dill.dumps(value))


def load_bare(path: Path) -> State:
    """Read a file with plain dill."""
    with path.open("rb") as file:
        value: State = dill.load(file)
    return value


def fail(
    runner: Runner, cp: CheckpointFlow, error: BaseException, state: State | None = None
) -> None:
    """Run a flow, all loaders included, that must raise this very object."""
    with pytest.raises(type(error)) as info:
        runner(cp, state, "always")
    assert info.value is error


def notes_of(error: BaseException) -> str:
    """All notes of an exception as one text."""
    return "\n".join(getattr(error, "__notes__", ()))


@contextlib.contextmanager
def no_more_threads() -> Generator[None, None, None]:
    """Ask for stacks of 64 TiB, which no system gives."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)
