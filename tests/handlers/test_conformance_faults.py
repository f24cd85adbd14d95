"""The conformance checks that need faults, and the reports of checks that cannot be made."""

from __future__ import annotations

import importlib
import sqlite3
import unittest
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import CHECKS, DatabaseFaults, FolderFaults

from aiocheckpoint import LocalStateHandler
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import HANDLER_CHECKS, Faults, MemoryStateHandler, check_handler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def reason_of(name: str, make: Callable[[], Any], faults: Faults | None = None) -> str:
    """Check that a check cannot be made, and give the reason."""
    with pytest.raises(unittest.SkipTest) as raised:
        CHECKS[name](make, faults)
    return str(raised.value)


@pytest.mark.parametrize("name", ["stolen_lease", "stolen_run", "rows_left"])
@pytest.mark.parametrize("options", [{}, {"keep": 3}, {"lock": "lease", "lease": 1}])
def test_faults_of_directories(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """A directory passes the checks with a lock file that is deleted, and leaves no files."""

    def make() -> LocalStateHandler:
        return LocalStateHandler(f"{tmp_path}/runs/", fsync=False, **options)

    CHECKS[name](make, FolderFaults(make()))


@pytest.mark.parametrize("name", ["stolen_lease", "stolen_run", "rows_left", "long_outage"])
@pytest.mark.parametrize("keep", [1, 3])
def test_faults_of_databases(name: str, keep: int, tmp_path: Path) -> None:
    """A database passes the checks with a lease that is stolen, and with another writer."""

    def make() -> SqliteStateHandler:
        return SqliteStateHandler(tmp_path / "runs.db", fsync=False, keep=keep)

    CHECKS[name](make, DatabaseFaults(tmp_path / "runs.db"))


def test_missing_faults() -> None:
    """A check whose fault is missing says so, whether there are other faults or none."""
    store = MemoryStateHandler()
    for faults in (None, Faults(), object()):
        given: Any = faults
        assert reason_of("stolen_lease", lambda: store, given) == "faults.steal() is missing"
    reason = reason_of("crash", lambda: store)
    assert reason.endswith("missing, and a crash alone shows whether commits are durable")


def test_any_object_with_the_method() -> None:
    """Faults may be any object that has the method."""

    class Counting:
        def rows(self) -> int:
            return len(store.runs_stored())

    class Stored(MemoryStateHandler):
        def runs_stored(self) -> list[str | None]:
            return [*self._newest, *self._owners]

    store, faults = Stored(), Counting()
    given: Any = faults
    CHECKS["rows_left"](lambda: store, given)


def test_report() -> None:
    """The report has each check once, and shows the reasons of those that were not made."""
    store = MemoryStateHandler(keep=3)
    report = check_handler(lambda: store)
    names = [check.__name__.removeprefix("check_") for check in HANDLER_CHECKS]
    assert sorted([*report.checked, *report.not_checked]) == sorted(names)
    lines = str(report).splitlines()
    missing = len(report.not_checked)
    assert lines[0] == f"{len(report.checked)} checks passed, {missing} not made"
    assert "  stolen_lease: faults.steal() is missing" in lines
    assert len(lines) == 1 + missing


def test_processes_need_a_store_of_files() -> None:
    """A store of one process is not checked with several, and says why."""
    store = MemoryStateHandler()
    assert reason_of("race", lambda: store) == "its snapshots are of this process alone"


def test_a_function_that_cannot_be_sent(tmp_path: Path) -> None:
    """A `make` that refers to a connection cannot be sent, and the reason says so."""
    with closing(sqlite3.connect(":memory:")) as connection:

        def make() -> LocalStateHandler:
            connection.execute("SELECT 1")
            return LocalStateHandler(f"{tmp_path}/runs/", fsync=False)

        assert "make cannot be sent to another process" in reason_of("race", make)
        assert "make cannot be sent to another process" in reason_of("fork", make)


def test_a_function_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `make` of a module that another process does not find is reported as not checked."""
    (tmp_path / "only_here.py").write_text(
        "from aiocheckpoint import LocalStateHandler\n"
        "def make(): return LocalStateHandler('runs/', fsync=False)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("only_here")
    (tmp_path / "only_here.py").unlink()
    assert "No module named 'only_here'" in reason_of("race", module.make)


def test_another_store_in_another_process(tmp_path: Path) -> None:
    """A `make` whose store is another one in another process is reported as not checked."""

    def make() -> LocalStateHandler:
        import os  # noqa: PLC0415 - sent with the function

        return LocalStateHandler(f"{tmp_path}/{os.getpid()}/", fsync=False)

    assert "another store in another process" in reason_of("race", make)


def test_old_callers(tmp_path: Path) -> None:
    """A check can be called with `make` alone, as before 0.8, and has the name of a function."""
    for check in HANDLER_CHECKS[:5]:
        assert check(lambda: LocalStateHandler(tmp_path / "c.pkl", fsync=False)) is None  # type: ignore[func-returns-value]
        assert check.__name__.startswith("check_")
