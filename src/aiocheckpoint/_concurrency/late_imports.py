"""Imports that are put off until something is asked for, without stalling an event loop."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread

__all__ = ["imported"]


async def imported(name: str) -> Any:  # noqa: ANN401 - a module
    """Give a module; one that is not there yet is imported in a thread."""
    if name not in sys.modules:
        await run_in_thread(SNAPSHOTS, importlib.import_module, name)
    return importlib.import_module(name)
