"""Types that dill pickles, but that do not survive loading.

A file handle loads by opening, and so perhaps truncating, the file again. A held lock loads as
held, without an owner to release it. Objects of an event loop load without the loop. The first
two were seen with dill 0.4.1 on Linux.
"""

from __future__ import annotations

import _thread
import asyncio
import importlib
import inspect
import io
import socket
import threading
import types

from aiocheckpoint._errors.messages import MEMORY_MAP

__all__ = ["refusal_reason", "unloadable_reason"]

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
    ((asyncio.Queue,), "a queue"),
    ((socket.socket,), "a socket"),
    (_RUNNING, "a running task, thread or frame"),
)

_ALL: tuple[type, ...] = tuple(kind for kinds, _ in _NOUNS for kind in kinds)
# By name: a program with an instance has imported the module, and others need not. A connection
# would be stored as the number of a descriptor.
_BY_NAME = (
    (("multiprocessing.connection", "_ConnectionBase"), "a connection"),
    (("queue", "Queue"), "a queue"),
    (("_queue", "SimpleQueue"), "a queue"),
    (("numpy", "memmap"), MEMORY_MAP),
    (("mmap", "mmap"), MEMORY_MAP),
)


def refusal_reason(kind: type) -> str | None:
    """Why instances of `kind` are refused, in words, or None where they are not."""
    noun = _noun_of(kind)
    if noun is None:
        return None
    remedy = "; put a copy of its content into the state" if noun is MEMORY_MAP else ""
    return f"{noun} ({kind.__module__}.{kind.__qualname__}) would not load as it was{remedy}"


def _noun_of(kind: type) -> str | None:
    if issubclass(kind, _ALL):
        return next(noun for kinds, noun in _NOUNS if issubclass(kind, kinds))
    names = [(base.__module__, base.__name__) for base in kind.__mro__]
    return next((noun for name, noun in _BY_NAME if name in names), None)


def unloadable_reason(obj: object) -> str | None:
    """Why `obj` would not load as the same object, in words, or None where it would."""
    reason = refusal_reason(type(obj))
    if reason is None and isinstance(obj, BaseException):
        reason = _why_not_remade(obj)
    return reason


def _why_not_remade(error: BaseException) -> str | None:
    """Why an exception could not be loaded again, in words, or None where it can.

    Loading calls its class with its `args`. These are the arguments of `BaseException`, which may
    differ from the arguments of the class.
    """
    kind = type(error)
    if kind.__reduce__ is not BaseException.__reduce__ or kind.__init__ is BaseException.__init__:
        return None
    try:
        inspect.signature(kind).bind(*error.args)
    except TypeError:
        return f"{kind.__qualname__}(*args) does not take the args that it would be loaded with"
    except ValueError:
        pass  # Built-in classes have no signature, and load.
    return None
