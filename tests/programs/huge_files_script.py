"""Tries all readers on each given file, in little memory; prints JSON of the outcomes."""

from __future__ import annotations

import contextlib
import json
import sys
import tracemalloc
from typing import TYPE_CHECKING

from aiocheckpoint import CheckpointError, CheckpointFlow, LocalStateHandler, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

SPARE_MEMORY = 64 << 20


def limit_memory() -> None:
    """Limit the process to a little more memory than it has."""
    with contextlib.suppress(ImportError, OSError):
        import resource  # noqa: PLC0415 - of POSIX alone

        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_MEMORY, now + SPARE_MEMORY))


def attempt(call: Callable[[], object]) -> tuple[str, str, int]:
    """Return the error of a call, its message, and the peak of memory."""
    tracemalloc.start()
    try:
        call()
    except CheckpointError as error:
        return type(error).__name__, str(error), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return "", "", 0


def attempts(path: str) -> list[tuple[str, str, int]]:
    """Try all readers on one path."""
    cp = CheckpointFlow(path)
    cp.add_step(name="a")(lambda state: None)
    listed = LocalStateHandler(path, allow=())
    signed = LocalStateHandler(path, secret="s" * 32)

    def plan() -> None:
        refused = cp.plan().refused
        if refused is not None:
            raise refused

    ways = (lambda: inspect(path), plan, cp.run, cp.handler.read, listed.read, signed.read)
    return [attempt(way) for way in ways]


limit_memory()
sys.stdout.write(json.dumps([attempts(path) for path in sys.argv[1:]]))
