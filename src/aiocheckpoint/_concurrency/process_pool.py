"""Processes of the library's own for calls of users' functions.

A thread that has a call takes an idle process, or starts one, and waits for the answer. A process
that is lost, or killed since the time of a call is over, concerns its own call alone.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing.process
import os
import pickle
import time
import weakref
from collections import deque
from multiprocessing import get_context, util
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.call_errors import (
    CallRefusedError,
    PartTimeoutError,
    ProcessLostError,
    ProcessStartError,
)
from aiocheckpoint._concurrency.process_worker import ANSWER, PART, ctrl_c_held_back, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

__all__ = ["ProcessPool", "process_count"]

_END_SECONDS = 2.0
"""An idle process ends at once when its connection is closed."""
_LOOK_SECONDS = 0.05


def process_count() -> int:
    """The number of processes that this process may use processors for."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ProcessPool:
    """Processes for calls, of which each serves one call at once.

    They are spawned, and begin with nothing of this process. Who calls limits their number, as each
    call has a thread.
    """

    def __init__(self) -> None:
        self._idle: deque[_Process] = deque()
        self._all: set[_Process] = set()
        self._is_closed = False
        _pools.add(self)

    def call(self, function: Callable[[Any], Any], argument: object, seconds: float | None) -> Any:  # noqa: ANN401
        """Call a function in a process, and wait for its end.

        Args:
            function: The function, which is pickled by its name.
            argument: Its argument.
            seconds: The most seconds for each part that the call names by `take_part_reporter`, or
                None.

        Raises:
            ProcessLostError: The process has ended.
            ProcessStartError: It ended by itself before a part began, as its imports may do.
            PartTimeoutError: A part took longer.
            CallRefusedError: The function or the result cannot be pickled.
        """
        try:
            request = pickle.dumps((function, argument), 5)
        except Exception as error:
            raise CallRefusedError(f"{type(error).__name__}: {error}") from error
        process = self._take()
        try:
            answer = process.answer(request, seconds)
        except BaseException:
            self._all.discard(process)
            process.kill()
            raise
        self._idle.append(process)
        if self._is_closed:
            self._close_idle()
        if answer[:1] != ANSWER:
            raise CallRefusedError(answer[1:].decode(errors="replace"))
        with memoryview(answer) as view:
            return pickle.loads(view[1:])  # noqa: S301 - of our own process

    def close(self) -> None:
        """End the idle processes. One in a call ends behind it."""
        self._is_closed = True
        self._close_idle()

    def kill(self) -> None:
        """End all processes at once, at the end of the interpreter."""
        self.close()
        while self._all:
            self._all.pop().kill()

    def forget(self) -> None:
        """Close the copies of the connections that a forked child has, and wait for no process."""
        for process in list(self._all):
            process.forget()
        self._idle.clear()
        self._all.clear()

    def _take(self) -> _Process:
        while self._idle:
            with contextlib.suppress(IndexError):
                process = self._idle.pop()
                if process.is_alive:
                    return process
                self._all.discard(process)
                process.kill()
        process = _Process()
        self._all.add(process)
        return process

    def _close_idle(self) -> None:
        ending: list[_Process] = []
        while self._idle:
            with contextlib.suppress(IndexError):
                ending.append(self._idle.pop())
        for process in ending:
            process.connection.close()
        for process in ending:
            self._all.discard(process)
            process.end()


class _Process:
    """One process and the connection to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        pipe: Any = context.Pipe()  # Of another class on Windows.
        self.connection: Connection[Any, Any] = pipe[0]
        self._has_answered = False
        theirs = pipe[1]
        self._process = context.Process(
            target=serve, args=(theirs,), name="aiocheckpoint-step", daemon=False
        )
        try:
            with ctrl_c_held_back():
                self._process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.exitcode is None

    def answer(self, request: bytes, seconds: float | None) -> bytes:
        """Send a request, and wait for its answer."""
        try:
            self.connection.send_bytes(request)
            return self._receive(seconds)
        except (EOFError, OSError) as error:
            self._join()
            code = self._process.exitcode
            if code is not None and code > 0 and not self._has_answered:
                raise ProcessStartError(_why_it_did_not_begin(code)) from error
            raise ProcessLostError(_how_it_ended(code)) from error

    def _receive(self, seconds: float | None) -> bytes:
        part: str = ""
        ends: float | None = None
        while True:
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            ready = wait([self.connection, self._process.sentinel], left)
            if not ready:
                raise PartTimeoutError(part)
            if self.connection not in ready and not self.connection.poll():
                raise EOFError
            message = self.connection.recv_bytes()
            self._has_answered = True
            if message[:1] != PART:
                return message
            part = message[1:].decode()
            ends = None if seconds is None or not part else time.monotonic() + seconds

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()
        self.connection.close()
        self.end()

    def forget(self) -> None:
        """Forget a process of the parent, in a forked child.

        At exit `multiprocessing` joins all processes that it has noted, and fails at one that is no
        child. It empties its set in the children that it forks itself, and not behind `os.fork`.
        """
        self.connection.close()
        noted: set[BaseProcess] = getattr(multiprocessing.process, "_children", set())
        noted.discard(self._process)

    def end(self) -> None:
        """Wait for the end of the process, whose connection is closed."""
        with contextlib.suppress(OSError, ValueError, AssertionError):
            self._join()
            if self.is_alive:
                self._process.kill()
                self._join()

    def _join(self) -> None:
        """Wait for the end of the process for a while.

        A child that it has forked may keep its sentinel open.
        """
        ends = time.monotonic() + _END_SECONDS
        while self.is_alive and time.monotonic() < ends:
            self._process.join(_LOOK_SECONDS)
        self._process.join(0.0)  # `multiprocessing` keeps it until then.


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "its process has closed its connection"
    if code < 0:
        return f"its process was killed by signal {-code}"
    return f"its process ended with exit code {code}"


def _why_it_did_not_begin(code: int) -> str:
    return (
        f"{_how_it_ended(code)} before the step began. Its standard error has the reason. A "
        "process imports the script of its parent, so a run has to be under "
        '`if __name__ == "__main__":` there'
    )


_pools: weakref.WeakSet[ProcessPool] = weakref.WeakSet()


def _kill_all() -> None:
    for pool in list(_pools):
        pool.kill()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


# `multiprocessing` waits for its processes at exit, by a function that `util` has registered. This
# one is registered behind it, and is called before it.
_ = util
atexit.register(_kill_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
