"""Loops that listen to a signal are called back at each notification."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.loop_signal import LoopSignal

if TYPE_CHECKING:
    import pytest


def test_every_listener_is_called_back() -> None:
    """A notification of any thread calls back on each listening loop, and no more behind it."""
    signal = LoopSignal()
    heard: list[str] = []

    async def main() -> None:
        loop, here = asyncio.get_running_loop(), threading.get_ident()

        def note() -> None:
            assert (asyncio.get_running_loop(), threading.get_ident()) == (loop, here)
            heard.append("note")

        with signal.listening(note), signal.listening(lambda: heard.append("other")):
            await asyncio.to_thread(signal.notify)
            await asyncio.sleep(0)
            signal.notify()
            assert heard == ["note", "other"]
            await asyncio.sleep(0)
            assert heard == ["note", "other"] * 2
        signal.notify()
        await asyncio.sleep(0)
        assert heard == ["note", "other"] * 2

    asyncio.run(main())
    signal.notify()


def test_closed_loop_is_passed_over() -> None:
    """A loop that was closed under its listener keeps no other from being called."""
    signal = LoopSignal()
    heard: list[str] = []

    async def listen() -> None:
        with signal.listening(lambda: heard.append("closed")):
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(listen())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def main() -> None:
        with signal.listening(lambda: heard.append("open")):
            signal.notify()
            await asyncio.sleep(0)

    asyncio.run(main())
    assert heard == ["open"]
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
    del task
    gc.collect()
    signal.notify()


def test_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was forked calls no loop of its parent, and has listeners of its own."""
    signal = LoopSignal()
    heard: list[str] = []

    async def main() -> None:
        listening = signal.listening(lambda: heard.append("parent"))
        with listening, monkeypatch.context() as child:
            child.setattr(forks, "process", object())
            signal.notify()
            await asyncio.sleep(0)
            assert heard == []
            with signal.listening(lambda: heard.append("child")):
                signal.notify()
                await asyncio.sleep(0)
        assert heard == ["child"]

    asyncio.run(main())
