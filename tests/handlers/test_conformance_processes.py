"""Every handler of the library passes the conformance checks with processes and with many runs."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING

import pytest
from conformance_checks import CHECKS, LONG, DatabaseFaults

from aiocheckpoint import LocalStateHandler
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import check_handler

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.testing import HandlerCheck

every_check = pytest.mark.parametrize("check", LONG, ids=lambda check: check.__name__)


@every_check
def test_local_directory_with_processes(check: HandlerCheck, tmp_path: Path) -> None:
    """The local handler passes every check. Its lock by the kernel has no lease."""
    if check in {CHECKS["living_owner"], CHECKS["stopped_owner"]}:
        with pytest.raises(unittest.SkipTest, match="no leases"):
            check(lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False))
        return
    check(lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False))


@every_check
def test_local_leases_with_processes(check: HandlerCheck, tmp_path: Path) -> None:
    """The local handler passes every check with renewed lock files as well."""
    check(lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False, lock="lease", lease=1))


@every_check
def test_sqlite_with_processes(check: HandlerCheck, tmp_path: Path) -> None:
    """The SQLite handler passes every check."""
    check(lambda: SqliteStateHandler(tmp_path / "runs.db", fsync=False, keep=3, lease=1))


def test_one_database_serves_all_checks(tmp_path: Path) -> None:
    """Each check leaves the database as it found it, and the report names what was not checked."""

    def make() -> SqliteStateHandler:
        return SqliteStateHandler(tmp_path / "runs.db", fsync=False)

    report = check_handler(make, DatabaseFaults(tmp_path / "runs.db"))
    assert make().runs(Query()) == []
    assert {"stolen_lease", "fork", "killed_owner", "many_at_once"} <= set(report.checked)
    assert set(report.not_checked) == {
        *("keep", "amended_snapshot"),  # One snapshot is kept.
        *("stopped_owner", "living_owner"),  # A lease is long.
        *("paused_owner", "outage", "owner_in_outage", "lost_answers", "crash"),
    }
