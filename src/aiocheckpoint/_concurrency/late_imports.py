"""The one door for imports that are put off until a program needs them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread

__all__ = ["import_in_thread"]


async def import_in_thread(name: str) -> Any:  # noqa: ANN401 - a module
    """Give a module. If it is not imported yet, a thread imports it, while the loop runs."""
    if name not in sys.modules:
        await run_in_thread(SNAPSHOTS, importlib.import_module, name)
    return importlib.import_module(name)
