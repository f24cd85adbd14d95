"""Reads each given file under `allow=()` and inspects it; prints JSON of the outcomes and times."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING

from aiocheckpoint import CheckpointError, LocalStateHandler, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 1 << 30


def limit_memory() -> None:
    """Limit the address space of the process."""
    with contextlib.suppress(ImportError, OSError):
        import resource  # noqa: PLC0415 - of POSIX alone

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def attempt(call: Callable[[], object]) -> tuple[str, float]:
    """Return the error of a call, and the processor's seconds that it took."""
    begun, kind = time.process_time(), ""
    try:
        call()
    except CheckpointError as error:
        kind = type(error).__name__
    return kind, time.process_time() - begun


limit_memory()
found: list[list[tuple[str, float]]] = []
for path in sys.argv[1:]:
    handler = LocalStateHandler(path, allow=())
    found.append([attempt(handler.read), attempt(lambda path=path: inspect(path))])  # type: ignore[misc]
sys.stdout.write(json.dumps(found))
