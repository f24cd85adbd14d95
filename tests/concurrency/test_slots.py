"""Slots: how many callers hold one, in which order the others get theirs, and that none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint._concurrency import slots as slots_module
from aiocheckpoint._concurrency.backends import AsyncBackend, SyncBackend, run_to_completion
from aiocheckpoint._concurrency.executors import AsyncExecutor
from aiocheckpoint._concurrency.slots import Slots
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PATIENCE = 60.0


class Reasons:
    """Ends waits when it is told to."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], object]] = []

    def check(self) -> None:
        """Raise the exception that was set."""
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def listening(self, callback: Callable[[], object]) -> Generator[None]:
        """Note the callback."""
        self.callbacks.append(callback)
        yield
        self.callbacks.remove(callback)

    def end(self, error: BaseException) -> None:
        """End all waits."""
        self.error = error
        for callback in list(self.callbacks):
            callback()


def on_loop() -> AsyncBackend:
    """Make a backend for the running loop."""
    return AsyncBackend(AsyncExecutor(StepThreads(), SNAPSHOTS))


async def waiting(slots: Slots, reasons: Reasons) -> asyncio.Task[None]:
    """Begin to wait for a slot in a task."""
    task = asyncio.create_task(slots.take(on_loop(), reasons))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_turns() -> None:
    """The callers beyond the number wait, and get a slot in the order in which they came."""
    slots, reasons = Slots(2), Reasons()
    for _ in range(2):
        await slots.take(on_loop(), reasons)
    first, second = await waiting(slots, reasons), await waiting(slots, reasons)
    slots.give_back()
    await asyncio.wait_for(first, PATIENCE)
    assert not second.done()
    slots.give_back()
    await asyncio.wait_for(second, PATIENCE)


async def test_nobody_is_overtaken() -> None:
    """A caller that comes just as a slot is free takes its turn behind those who wait."""
    slots, reasons = Slots(1), Reasons()
    await slots.take(on_loop(), reasons)
    first = await waiting(slots, reasons)
    slots.give_back()
    late = await waiting(slots, reasons)
    await asyncio.wait_for(first, PATIENCE)
    assert not late.done()
    late.cancel()
    await asyncio.wait([late])


async def test_cancelled_wait() -> None:
    """A cancelled caller leaves the queue, and the slot that it got meanwhile goes to the next."""
    slots, reasons = Slots(1), Reasons()
    await slots.take(on_loop(), reasons)
    gone, last = await waiting(slots, reasons), await waiting(slots, reasons)
    slots.give_back()
    gone.cancel()  # Its turn has come, and it has not been woken yet.
    await asyncio.wait_for(last, PATIENCE)
    assert gone.cancelled()
    slots.give_back()
    await asyncio.wait_for(slots.take(on_loop(), reasons), PATIENCE)


async def test_interrupted_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption ends the wait of a task at once, and a new wait does not begin."""
    monkeypatch.setattr(slots_module, "_SECONDS_ON_LOOP", 10 * PATIENCE)
    slots, reasons = Slots(1), Reasons()
    await slots.take(on_loop(), reasons)
    task = await waiting(slots, reasons)
    reasons.end(InterruptedError())
    await asyncio.wait([task], timeout=PATIENCE)
    assert isinstance(task.exception(), InterruptedError)
    with pytest.raises(InterruptedError):
        await slots.take(on_loop(), reasons)
    slots.give_back()
    await asyncio.wait_for(slots.take(on_loop(), Reasons()), PATIENCE)


def test_threads() -> None:
    """Blocked threads wait in the same queue, and an interruption ends their waits."""
    slots, reasons, got = Slots(1), Reasons(), list[str]()

    def take(name: str, interruptions: Reasons) -> None:
        with contextlib.suppress(InterruptedError):
            run_to_completion(slots.take(SyncBackend(), interruptions))
            got.append(name)

    take("first", reasons)
    other = Reasons()
    threads = [
        threading.Thread(target=take, args=("second", reasons)),
        threading.Thread(target=take, args=("never", other)),
    ]
    for thread in threads:
        thread.start()
    other.error = InterruptedError()
    threads[1].join(PATIENCE)
    assert got == ["first"]
    slots.give_back()
    threads[0].join(PATIENCE)
    assert got == ["first", "second"]


def test_closed_loop() -> None:
    """A caller whose loop was closed under it takes no slot."""
    slots, reasons = Slots(1), Reasons()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        await slots.take(on_loop(), reasons)
        tasks.append(await waiting(slots, reasons))

    tasks = list[asyncio.Task[None]]()
    loop.run_until_complete(begin())
    loop.close()
    slots.give_back()
    run_to_completion(slots.take(SyncBackend(), reasons))
    tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001


def test_many_at_once() -> None:
    """Of many threads that take and give back, never more than the number hold a slot."""
    slots, reasons = Slots(3), Reasons()
    held, most, lock = [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(200):
            run_to_completion(slots.take(SyncBackend(), reasons))
            with lock:
                held[0] += 1
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= 1
            slots.give_back()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert most[0] <= 3
    for _ in range(3):
        run_to_completion(slots.take(SyncBackend(), reasons))
