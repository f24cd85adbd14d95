"""Things that dill would write, and that would load as something else than they were.

A file handle loads by opening, and so perhaps truncating, the file again; a lock that was held
comes back held by nobody; what belongs to an event loop comes back without one. (The first two
were seen with dill 0.4.1 on Linux.)
"""

from __future__ import annotations

import _thread
import asyncio
import importlib
import io
import queue
import socket
import threading
import types

__all__ = ["FORBIDDEN", "why_forbidden"]

_FILES = tuple(
    getattr(module, name)
    for module in (io, importlib.import_module("_pyio"))  # dill writes both
    for name in ("FileIO", "BufferedReader", "BufferedWriter", "BufferedRandom", "TextIOWrapper")
)
_LOCKS = (
    _thread.LockType,
    _thread.RLock,
    threading.Barrier,
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    asyncio.Condition,
    asyncio.Event,
    asyncio.Lock,
    asyncio.Semaphore,
)
_QUEUES = (asyncio.Queue, queue.Queue, queue.SimpleQueue)
_RUNNING = (
    asyncio.AbstractEventLoop,
    asyncio.Future,
    threading.Thread,
    types.AsyncGeneratorType,
    types.CoroutineType,
    types.FrameType,
    types.GeneratorType,
    types.TracebackType,
)
_NOUNS: tuple[tuple[tuple[type, ...], str], ...] = (
    (_FILES, "a file handle"),
    (_LOCKS, "a lock or event"),
    (_QUEUES, "a queue"),
    ((socket.socket,), "a socket"),
    (_RUNNING, "something under way"),
)

FORBIDDEN: tuple[type, ...] = tuple(kind for kinds, _ in _NOUNS for kind in kinds)
"""Types whose instances, and those of their subclasses, are refused."""


def why_forbidden(kind: type) -> str:
    """Say in words why an instance of `kind`, a subclass of one of `FORBIDDEN`, is refused."""
    noun = next(noun for kinds, noun in _NOUNS if issubclass(kind, kinds))
    return f"{noun} ({kind.__module__}.{kind.__qualname__}) would not load as it was"
