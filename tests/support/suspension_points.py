"""Interrupts a coroutine at chosen points of suspension, on every kind of event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from interrupts import this_task

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Generator
    from pathlib import Path

    from support import State

T = TypeVar("T")

NAMES = ("a", "b", "c")
UNDISTURBED = {"trail": [*NAMES]}
FEWEST_POINTS = 15


class AwaitInterrupter:
    """Awaits a coroutine, and interrupts it when it suspends for the n-th time.

    Args:
        coroutine: The coroutine to await.
        points: The n at which to interrupt, from 1.
        action: Called with the coroutine's awaited future, just before the loop gets it.

    Attributes:
        count: How often the coroutine has been suspended.
        interrupted: How often it has been interrupted.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, object],
        points: Collection[int],
        action: Callable[[Any], object],
    ) -> None:
        """Nothing runs yet."""
        self._coroutine = coroutine
        self._points = points
        self._blow = action
        self.count = 0
        self.interrupted = 0

    def __await__(self) -> Generator[Any, None, object]:
        """Pass on all values and exceptions to and from the coroutine."""
        error: BaseException | None = None
        while True:
            try:
                waiting = self._coroutine.throw(error) if error else self._coroutine.send(None)
            except StopIteration as end:
                return end.value
            self.count += 1
            if self.count in self._points:
                self.interrupted += 1
                self._blow(waiting)
            error = None
            try:
                yield waiting
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - it goes into the coroutine
                error = thrown


def at_once(cancel: Callable[[], object], waiting: object) -> None:
    """Cancel when the coroutine begins to wait."""
    cancel()


def next_turn(cancel: Callable[[], object], waiting: object) -> None:
    """Cancel when the loop turns next."""
    asyncio.get_running_loop().call_soon(cancel)


def as_it_wakes(cancel: Callable[[], object], waiting: object) -> None:
    """Cancel after the awaited result has arrived and before the task has woken."""
    if isinstance(waiting, asyncio.Future):
        waiting.add_done_callback(lambda _: cancel())
    else:
        cancel()


MOMENTS = {"at-once": at_once, "next-turn": next_turn, "as-it-wakes": as_it_wakes}


@contextlib.contextmanager
def plain_loop() -> Generator[asyncio.Runner]:
    """Give asyncio's own loop."""
    with asyncio.Runner() as runner:
        yield runner


@contextlib.contextmanager
def debugging_loop() -> Generator[asyncio.Runner]:
    """Give asyncio's own loop in debug mode."""
    with asyncio.Runner(debug=True) as runner:
        runner.get_loop().slow_callback_duration = 60.0
        yield runner


@contextlib.contextmanager
def eager_loop() -> Generator[asyncio.Runner]:
    """Give a loop whose tasks begin before they are scheduled."""
    if sys.version_info >= (3, 12):
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(asyncio.eager_task_factory)
            yield runner
    else:
        pytest.skip("eager tasks came with Python 3.12")


@contextlib.contextmanager
def uvloop_loop() -> Generator[asyncio.Runner]:
    """Give uvloop's loop."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


LOOPS = {
    "plain": plain_loop,
    "debug": debugging_loop,
    "eager": eager_loop,
    "uvloop": uvloop_loop,
}


def warm_uvloop() -> None:
    """Let uvloop make its permanent pipe before descriptors are counted."""
    with contextlib.suppress(pytest.skip.Exception), uvloop_loop() as runner:
        runner.run(asyncio.sleep(0))


@dataclass
class Subject:
    """A flow of three steps with loaders, savers and a hook, whose parts suspend.

    Attributes:
        path: Where it stores.
        kind: "coroutines", "threads", or "own" for a handler of the user's own.
        ran: The steps that were called.
        saved: The steps whose saver has returned.
        failing: Names of steps that raise.
        hooked: Whether a hook, which is a coroutine function, is called.
    """

    path: Path
    kind: str
    ran: list[str] = field(default_factory=list[str])
    saved: list[str] = field(default_factory=list[str])
    failing: set[str] = field(default_factory=set[str])
    hooked: bool = True

    def flow(self) -> CheckpointFlow:
        """Make the flow."""
        own = self.kind == "own"
        handler = Own(self.path) if own else LocalStateHandler(self.path, fsync=False)
        hooks = [self._hook] if self.hooked else []
        cp = CheckpointFlow(self.path, handler, hooks=hooks)
        for name in NAMES:
            step, save = self._step(name), self._saver(name)
            if self.kind == "threads":
                cp.add_step(lambda state: {}, save, name=name)(step)
            else:
                cp.add_step(_load, self._coroutine(save), name=name)(self._coroutine(step))
        return cp

    def arun(self) -> Coroutine[Any, Any, State]:
        """Start or resume."""
        return self.flow().arun({"trail": []}, "always")

    def position(self) -> int:
        """The number of steps stored as done; all of them after the end."""
        if not self.path.exists():
            return 0
        stored = LocalStateHandler(self.path).read()
        trail: list[str] = stored["trail"]
        assert stored["checkpoint_index"] == len(trail) % len(NAMES)
        return len(trail)

    def _step(self, name: str) -> Callable[[State], None]:
        def step(state: State) -> None:
            self.ran.append(name)
            state["trail"] = [*state["trail"], name]
            if name in self.failing:
                raise ValueError(name)

        return step

    def _saver(self, name: str) -> Callable[[State], None]:
        def save(state: State) -> None:
            self.saved.append(name)

        return save

    def _coroutine(self, step: Callable[[State], None]) -> Callable[..., Any]:
        async def coroutine(state: State) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            step(state)

        return coroutine

    async def _hook(self, event: object) -> None:
        await asyncio.sleep(0)


class Own:
    """A user's own handler, which keeps its dict in a file by the local handler's means."""

    def __init__(self, path: Path) -> None:
        """Keep it there."""
        self._handler = LocalStateHandler(path, fsync=False)

    async def read(self) -> State:
        """Read it."""
        await asyncio.sleep(0)
        return await self._handler.aread()

    async def write(self, state: State) -> None:
        """Write it."""
        await asyncio.sleep(0)
        await self._handler.awrite(state)
        await asyncio.sleep(0)


async def _load(state: State) -> State:
    await asyncio.sleep(0)
    return {}


async def outcome_of(
    coroutine: Coroutine[Any, Any, object],
    points: Collection[int],
    moment: Callable[[Callable[[], object], object], object],
) -> tuple[AwaitInterrupter, asyncio.Task[object]]:
    """Await a coroutine in a task that is cancelled at the given points; return the ended task."""

    async def interrupter() -> object:
        cancel = this_task().cancel
        interrupters.append(
            AwaitInterrupter(coroutine, points, lambda waiting: moment(cancel, waiting))
        )
        return await interrupters[0]

    interrupters: list[AwaitInterrupter] = []
    task = asyncio.create_task(interrupter())
    await asyncio.wait([task])
    return interrupters[0], task


@contextlib.contextmanager
def at_point(number: int) -> Generator[None]:
    """Add the number of the suspension to a failure."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"at suspension {number}")
        raise


def check_left(subject: Subject, *, abandoned: bool = False) -> None:
    """Check that no other file is beside the snapshot, and that each stored step ran once.

    A step is stored as soon as its saver has returned, and not before. Only a run whose coroutine
    was closed can do nothing more.
    """
    place = subject.path.parent
    assert not place.exists() or {path.name for path in place.iterdir()} <= {"checkpoint.pkl"}
    done = NAMES[: subject.position()]
    assert subject.ran[: len(done)] == [*done] == subject.saved[: len(done)]
    assert abandoned or subject.saved == [*done]
    assert subject.ran in ([*NAMES[: len(done)]], [*NAMES[: len(done) + 1]])


def check_resumes(subject: Subject, runner: asyncio.Runner) -> None:
    """Check that the next run executes only the steps left, and ends as if undisturbed."""
    done = subject.position() % len(NAMES)
    subject.ran.clear()
    assert runner.run(subject.arun()) == UNDISTURBED
    assert subject.ran == [*NAMES[done:]]
