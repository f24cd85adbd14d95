"""The runs in progress here that can be terminated, and the look for requests to do so.

Another process leaves its request in the store. One thread looks once a second while there are
runs, and at once where a store says so. It also stores the new cursors of their steps. Both is done
in the threads of each store, so that one that hangs holds up no other. Nothing here holds a lock,
as a signal handler may come in the midst of any line.
"""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint._concurrency.lone_thread import LoneThread
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._store_threads import threads_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from aiocheckpoint._engine.active_run import ActiveRun
    from aiocheckpoint.handlers._port import SnapshotPort

__all__ = ["begin_looks", "is_claimed_here", "note_claimed", "note_released", "terminate_here"]

LOOK_SECONDS = 1.0
"""Between two looks."""

_NAME = "aiocheckpoint-looks"


class _ClaimedRun(NamedTuple):
    """A run, held weakly, and the store that has its requests."""

    run: Callable[[], ActiveRun | None]
    port: SnapshotPort


_claimed: dict[str, _ClaimedRun] = {}
"""The runs by their locations. An abandoned run is collected, and leaves its entry behind."""


def note_claimed(location: str, port: SnapshotPort, run: ActiveRun) -> None:
    """Note that a run has its lock, and let requests to terminate it reach it."""
    _claimed[location] = _ClaimedRun(weakref.ref(run), port)
    if not _looks.living:
        _looks.start()


def note_released(location: str, run: ActiveRun) -> None:
    """Note that a run ends, before its lock is released."""
    known = _claimed.get(location)
    if known is not None and known.run() is run:
        del _claimed[location]


def is_claimed_here(location: str) -> bool:
    """Whether a run is in progress in this process."""
    return _run_at(location) is not None


def terminate_here(location: str, reason: str) -> None:
    """Terminate the run of a location, if it is in progress in this process. In any thread."""
    run = _run_at(location)
    if run is not None:
        run.terminate(reason)


def begin_looks() -> list[Future[None]]:
    """Begin to look into each store, for the runs in progress here. Done once a second.

    Returns:
        The looks in progress. One of a store that still works at an earlier look is that look.
    """
    return _looks.begin()


def _run_at(location: str) -> ActiveRun | None:
    known = _claimed.get(location)
    return None if known is None else known.run()


class _Looks(LoneThread):
    """The thread that looks once a second, while runs are in progress.

    Without a thread, requests of other processes wait for the next claim.
    """

    def __init__(self) -> None:
        super().__init__(_NAME, self._wait_and_look, lambda: _claimed or self._hearing)
        self._running: dict[int, Future[None]] = {}
        self._hearing: dict[int, AbstractContextManager[None]] = {}

    def _wait_and_look(self) -> None:
        time.sleep(LOOK_SECONDS)
        with suppress(MemoryError):
            self.hear()
            begin_looks()

    def begin(self) -> list[Future[None]]:
        """Do as `begin_looks`."""
        by_port: dict[int, tuple[SnapshotPort, dict[str | None, ActiveRun]]] = {}
        for location in copied(_claimed):
            known = _claimed.get(location)
            run = None if known is None else known.run()
            if known is None or run is None:
                if known is not None and _claimed.get(location) is known:
                    del _claimed[location]
                continue
            _, runs = by_port.setdefault(id(known.port), (known.port, {}))
            runs[run.run_id] = run
        for key, (port, runs) in by_port.items():
            last = self._running.get(key)
            if last is None or last.done():
                threads = threads_of(port)
                with suppress(CheckpointError):  # No thread can be started, or the process ends.
                    look = threads.made_call(_look_into)
                    self._running[key] = threads.submit(look, port, runs)
        for key in self._running.keys() - by_port.keys():
            del self._running[key]
        return list(self._running.values())

    def hear(self) -> None:
        """Hear of requests in each store that has runs in progress here. Only the thread calls it.

        Runs of less than a second need no connection for that.
        """
        ports = {id(known.port): known.port for known in copied(_claimed.values())}
        for key in ports.keys() - self._hearing.keys():
            self._hearing[key] = ports[key].on_ending(begin_looks)
            self._hearing[key].__enter__()
        for key in self._hearing.keys() - ports.keys():
            self._hearing.pop(key).__exit__(None, None, None)


def _look_into(port: SnapshotPort, runs: dict[str | None, ActiveRun]) -> None:
    begun = [run.cursors.store_new() for run in runs.values() if run.cursors is not None]
    for finish in filter(None, begun):  # A database stores all of them together.
        finish()
    with suppress(CheckpointError):  # The next snapshot says so, if the store is out of order.
        for run_id, reason in port.endings(runs).items():
            runs[run_id].terminate(reason)


_looks = _Looks()


def _reset_after_fork() -> None:
    """Forget the runs, which are the parent's, and the thread, which the child has not."""
    global _looks  # noqa: PLW0603 - one for each process
    _claimed.clear()
    _looks = _Looks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
