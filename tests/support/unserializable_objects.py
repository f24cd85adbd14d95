"""Things that no state can hold: each maker gives one, and leaves its end to an ExitStack."""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]
import asyncio
import codecs
import concurrent.futures
import contextvars
import gzip
import io
import mmap
import multiprocessing
import os
import queue
import select
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Maker: TypeAlias = "Callable[[ExitStack], Any]"
SECRET = "s3cret value"  # noqa: S105


def make_coroutine(stack: ExitStack) -> object:
    """Make a coroutine that nobody awaits."""

    async def wait() -> None:
        """Do nothing."""

    made = wait()
    stack.callback(made.close)
    return made


async def iterate() -> AsyncIterator[int]:
    """Be an asynchronous generator."""
    yield 1


def make_held_lock(stack: ExitStack) -> object:
    """Make a lock that is held, and freed in the end."""
    lock = threading.Lock()
    stack.enter_context(lock)
    return lock


def make_file(stack: ExitStack, mode: str, opener: Any = open) -> Any:  # noqa: ANN401
    """Open a file of our own."""
    path = stack.enter_context(tempfile.TemporaryDirectory()) + "/file"
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("kept")
    return stack.enter_context(closing(opener(path, mode)))


def make_connection(stack: ExitStack) -> object:
    """Make one end of a pipe."""
    for end in multiprocessing.Pipe():
        made = stack.enter_context(end)
    return made


def make_process(stack: ExitStack) -> object:
    """Make a handle of another process."""
    made = subprocess.Popen([sys.executable, "-c", ""])
    stack.callback(made.wait)
    return made


def make_traceback(stack: ExitStack) -> object:
    """Make a traceback."""
    try:
        raise ValueError  # noqa: TRY301
    except ValueError as error:
        return error.__traceback__


class Refusing:
    """Raises when it is asked how to pickle it."""

    def __reduce__(self) -> str:
        raise ValueError(SECRET)

    def __repr__(self) -> str:
        return SECRET


class HalfWay:
    """Raises when it is asked for its state."""

    def __getstate__(self) -> object:
        raise RuntimeError(SECRET)

    __repr__ = Refusing.__repr__


class Nonsense:
    """Says nonsense about how to pickle it."""

    def __reduce__(self) -> Any:  # noqa: ANN401
        return 1, 2, 3, 4, 5, 6, 7


class OutOfContext:
    """Raises whatever it is asked, like a proxy without anything behind it."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        raise RuntimeError(SECRET)


class NoSuchName:
    """Claims a name that nothing has."""

    def __reduce__(self) -> str:
        return "no_such_name"


def nested(levels: int, wrap: Callable[[object], object]) -> Maker:
    """Make something nested too deeply."""

    def make(stack: ExitStack) -> object:
        made: object = "core"
        for _ in range(levels):
            made = wrap(made)
        return made

    return make


UNSERIALIZABLE: dict[str, Maker] = {
    "generator": lambda stack: (i for i in "a"),
    "asynchronous generator": lambda stack: iterate(),
    "coroutine": make_coroutine,
    "task": lambda stack: asyncio.ensure_future(asyncio.sleep(0)),
    "future": lambda stack: asyncio.get_running_loop().create_future(),
    "loop": lambda stack: asyncio.get_running_loop(),
    "asyncio's lock": lambda stack: asyncio.Lock(),
    "asyncio's event": lambda stack: asyncio.Event(),
    "asyncio's queue": lambda stack: asyncio.Queue(),
    "thread": lambda stack: threading.Thread(target=print),
    "future of a thread": lambda stack: concurrent.futures.Future(),
    "executor": lambda stack: stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)),
    "lock": lambda stack: threading.Lock(),
    "held lock": make_held_lock,
    "lock of one thread": lambda stack: threading.RLock(),
    "condition": lambda stack: threading.Condition(),
    "event": lambda stack: threading.Event(),
    "semaphore": lambda stack: threading.Semaphore(),
    "barrier": lambda stack: threading.Barrier(2),
    "queue": lambda stack: queue.Queue(),
    "priority queue": lambda stack: queue.PriorityQueue(),
    "simple queue": lambda stack: queue.SimpleQueue(),
    "lock between processes": lambda stack: multiprocessing.Lock(),
    "socket": lambda stack: stack.enter_context(socket.socket()),
    "database": lambda stack: stack.enter_context(closing(sqlite3.connect(":memory:"))),
    "connection between processes": make_connection,
    "process": make_process,
    "file": lambda stack: make_file(stack, "r"),
    "file to write": lambda stack: make_file(stack, "wb"),
    "file to change": lambda stack: make_file(stack, "r+b"),
    "file without buffer": lambda stack: stack.enter_context(io.FileIO(os.devnull)),
    "file of _pyio": lambda stack: make_file(stack, "wb", _pyio.open),
    "file of codecs": lambda stack: codecs.EncodedFile(make_file(stack, "rb"), "utf-8"),
    "gzip file": lambda stack: make_file(stack, "wb", gzip.open),
    "temporary file": lambda stack: stack.enter_context(tempfile.TemporaryFile()),  # noqa: SIM115
    "standard output": lambda stack: sys.__stdout__,
    "directory scan": lambda stack: stack.enter_context(os.scandir()),
    "epoll": lambda stack: stack.enter_context(closing(select.epoll())),
    "mapped memory": lambda stack: stack.enter_context(closing(mmap.mmap(-1, 10))),
    "memory view": lambda stack: memoryview(b"abc"),
    "context variable": lambda stack: contextvars.ContextVar("variable"),
    "thread's own": lambda stack: threading.local(),
    "TLS context": lambda stack: ssl.create_default_context(),
    "frame": lambda stack: sys._getframe(),  # noqa: SLF001
    "traceback": make_traceback,
    "__reduce__ that raises": lambda stack: Refusing(),
    "__getstate__ that raises": lambda stack: HalfWay(),
    "__reduce__ that says nonsense": lambda stack: Nonsense(),
    "name that nothing has": lambda stack: NoSuchName(),
    "raises whatever it is asked": lambda stack: OutOfContext(),
    "50,000 nested lists": nested(50_000, lambda inner: [inner]),
    "50,000 nested dicts": nested(50_000, lambda inner: {"in": inner}),
    "50,000 nested tuples": nested(50_000, lambda inner: (inner,)),
    "50,000 nested partials": nested(50_000, lambda inner: [lambda: inner]),
}
