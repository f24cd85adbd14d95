"""Every kind of callable works as loader, step and saver, through every runner."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from support import FlowFactory, Runner, State, add_with, do_nothing

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

Call: TypeAlias = "Callable[..., Any]"


@dataclass
class Spy:
    """Writes down the arguments it is called with; the async ones only once awaited."""

    calls: list[tuple[State, ...]] = field(default_factory=list[tuple[State, ...]])

    def one(self, state: State) -> State:
        """Take the state."""
        return self.note(state)

    def two(self, state: State, data: State) -> State:
        """Take state and data."""
        return self.note(state, data)

    async def aone(self, state: State) -> State:
        """Take the state, once awaited."""
        await asyncio.sleep(0)
        return self.note(state)

    async def atwo(self, state: State, data: State) -> State:
        """Take state and data, once awaited."""
        await asyncio.sleep(0)
        return self.note(state, data)

    def note(self, *arguments: State) -> State:
        """Write down a call, and return a dict as loaders do."""
        self.calls.append(arguments)
        return {"spy": "was here"}


@dataclass
class Later:
    """An awaitable that is no coroutine."""

    call: Callable[[], Coroutine[Any, Any, State]]

    def __await__(self) -> Generator[Any, Any, State]:
        """Do the call once awaited."""
        return self.call().__await__()


@dataclass
class One:
    """A callable object of one argument."""

    call: Call

    def __call__(self, state: State) -> object:
        """Call the function."""
        return self.call(state)


@dataclass
class Two:
    """A callable object of two arguments."""

    call: Call

    def __call__(self, state: State, data: State) -> object:
        """Call the function."""
        return self.call(state, data)


@dataclass
class AsyncOne:
    """A callable object of one argument whose call is a coroutine function."""

    call: Call

    async def __call__(self, state: State) -> object:
        """Await the coroutine."""
        return await self.call(state)


@dataclass
class AsyncTwo:
    """A callable object of two arguments whose call is a coroutine function."""

    call: Call

    async def __call__(self, state: State, data: State) -> object:
        """Await the coroutine."""
        return await self.call(state, data)


def function(call: Call, count: int) -> Call:
    """Make a plain function of so many arguments."""

    def one(state: State) -> object:
        return call(state)

    def two(state: State, data: State) -> object:
        return call(state, data)

    return one if count == 1 else two


def coroutine_function(call: Call, count: int) -> Call:
    """Make a coroutine function of so many arguments."""

    async def one(state: State) -> object:
        return await call(state)

    async def two(state: State, data: State) -> object:
        return await call(state, data)

    return one if count == 1 else two


def class_method(call: Call, count: int) -> Call:
    """Make a class and give a method of it."""

    class Holder:
        @classmethod
        def one(cls, state: State) -> object:
            return call(state)

        @classmethod
        def two(cls, state: State, data: State) -> object:
            return call(state, data)

    return Holder.one if count == 1 else Holder.two


def later(call: Call) -> Call:
    """Make a function that returns an awaitable which is no coroutine."""
    return lambda *arguments: Later(lambda: call(*arguments))


def decorated(call: Call) -> Call:
    """Wrap a function with a plain wrapper, as most decorators do."""

    @functools.wraps(call)
    def wrapper(*arguments: Any, **options: Any) -> object:  # noqa: ANN401
        return call(*arguments, **options)

    return wrapper


def async_decorated(call: Call) -> Call:
    """Wrap a function with an async wrapper."""

    @functools.wraps(call)
    async def wrapper(*arguments: Any, **options: Any) -> object:  # noqa: ANN401
        await asyncio.sleep(0)
        return call(*arguments, **options)

    return wrapper


def sync_of(spy: Spy, count: int) -> Call:
    """Choose the spy's method by the number of arguments."""
    return spy.one if count == 1 else spy.two


def async_of(spy: Spy, count: int) -> Call:
    """Choose the spy's coroutine method by the number of arguments."""
    return spy.aone if count == 1 else spy.atwo


KINDS: dict[str, Callable[[Spy, int], Call]] = {
    "function": lambda spy, n: function(sync_of(spy, n), n),
    "coroutine function": lambda spy, n: coroutine_function(async_of(spy, n), n),
    "partial": lambda spy, n: functools.partial((Spy.one, Spy.two)[n - 1], spy),
    "partial of coroutine function": lambda spy, n: functools.partial(
        (Spy.aone, Spy.atwo)[n - 1], spy
    ),
    "partial of partial": lambda spy, n: functools.partial(functools.partial(async_of(spy, n))),
    "method": sync_of,
    "coroutine method": async_of,
    "callable object": lambda spy, n: (One, Two)[n - 1](sync_of(spy, n)),
    "async callable object": lambda spy, n: (AsyncOne, AsyncTwo)[n - 1](async_of(spy, n)),
    "partial of async callable object": lambda spy, n: functools.partial(
        (AsyncOne, AsyncTwo)[n - 1](async_of(spy, n))
    ),
    "classmethod": lambda spy, n: class_method(sync_of(spy, n), n),
    "classmethod that returns an awaitable": lambda spy, n: class_method(async_of(spy, n), n),
    "staticmethod": lambda spy, n: staticmethod(function(sync_of(spy, n), n)),
    "staticmethod of coroutine function": lambda spy, n: staticmethod(
        coroutine_function(async_of(spy, n), n)
    ),
    "function that returns a coroutine": lambda spy, n: function(async_of(spy, n), n),
    "function that returns an awaitable": lambda spy, n: function(later(async_of(spy, n)), n),
    "object that returns a coroutine": lambda spy, n: (One, Two)[n - 1](async_of(spy, n)),
    "decorated function": lambda spy, n: decorated(function(sync_of(spy, n), n)),
    "decorated coroutine function": lambda spy, n: decorated(
        coroutine_function(async_of(spy, n), n)
    ),
    "function decorated with async": lambda spy, n: async_decorated(function(sync_of(spy, n), n)),
}

PARTS = [
    pytest.param("load", 1, id="loader"),
    pytest.param("step", 1, id="step(state)"),
    pytest.param("step", 2, id="step(state, data)"),
    pytest.param("save", 1, id="saver(state)"),
    pytest.param("save", 2, id="saver(state, data)"),
]


def flow_with(flows: FlowFactory, part: str, call: Call, seen: list[State]) -> CheckpointFlow:
    """Make a flow of three steps, the middle one with the call as the given part."""
    cp = CheckpointFlow(flows.path)

    def keep(state: State, data: State) -> None:
        seen.append(dict(data))

    cp.add_step(name="first")(do_nothing)
    add_with(cp, "middle", part, call)
    cp.add_step(name="last")(keep)
    return cp


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("part", "count"), PARTS)
def test_every_kind_is_called_once_with_its_arguments(
    kind: str, part: str, count: int, any_runner: Runner, flows: FlowFactory
) -> None:
    """Each kind is called (and awaited) once, with the very state and data of the run."""
    spy, seen = Spy(), list[State]()
    cp = flow_with(flows, part, KINDS[kind](spy, count), seen)
    result = any_runner(cp, {"a": 1}, [True, True, True])
    assert [len(arguments) for arguments in spy.calls] == [count]
    assert spy.calls[0][0] is result
    assert result == {"a": 1}
    assert seen == ([{"spy": "was here"}] if part == "load" else [{}])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_fail(kind: str, any_runner: Runner, flows: FlowFactory) -> None:
    """What any kind of step raises comes out as it is, and the run stays where it was."""

    class Broken(Spy):
        def note(self, *arguments: State) -> State:
            raise error

    error = OSError("broken in the middle")
    cp = flow_with(flows, "step", KINDS[kind](Broken(), 2), [])
    with pytest.raises(OSError, match="broken in the middle") as info:
        any_runner(cp)
    assert info.value is error
    assert (flows.header().status, flows.header().position) == ("failed", 1)


def test_parts_of_one_step_may_be_of_different_kinds(
    any_runner: Runner, flows: FlowFactory
) -> None:
    """A coroutine step may have a sync loader and saver, and the reverse."""
    spy = Spy()
    cp = CheckpointFlow(flows.path)
    cp.add_step(load=spy.one, save=spy.atwo, name="first")(spy.one)
    cp.add_step(load=spy.aone, save=spy.one, name="second")(spy.atwo)
    cp.add_step(load=spy.one, save=spy.two, name="third")(spy.aone)
    any_runner(cp, None, "always")
    assert [len(arguments) for arguments in spy.calls] == [1, 1, 2, 1, 2, 1, 1, 1, 2]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_parts_come_in_order(asynchronous: bool, any_runner: Runner, flows: FlowFactory) -> None:  # noqa: FBT001
    """For each step: load, step, save; the next begins after that."""
    flows.asynchronous = asynchronous
    any_runner(flows.flow("a", "b"), None, "always")
    assert flows.log == ["load a", "step a", "save a", "load b", "step b", "save b"]
