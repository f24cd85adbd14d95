"""Odd values in any column, and odd tables: documented errors alone, and other runs stay usable."""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
from row_fuzz import (
    COLUMNS,
    DONE,
    GOOD,
    NEIGHBOURS,
    ODD,
    SCHEMAS,
    VALUES,
    Calls,
    change_schema,
    change_value,
    make_database,
    make_flow,
)
from run_factories import sql

from aiocheckpoint import CheckpointFlow, CorruptSnapshotError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.leaves_files
ALL = [pytest.mark.torture, pytest.mark.timeout(3600)]
_Case = TypeVar("_Case")
CASES = [(table, column, value) for table, column in COLUMNS for value in VALUES]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database, to be copied."""
    path = tmp_path_factory.mktemp("sound") / "runs.db"
    make_database(path)
    return path


def sampled(cases: Iterable[_Case], share: int) -> list[_Case]:
    """Choose one of so many cases, the same in each run."""
    found = list(cases)
    return random.Random(0).sample(found, len(found) // share)  # noqa: S311


@pytest.mark.parametrize("share", [30, pytest.param(1, marks=ALL)])
def test_odd_values(share: int, sound: Path, tmp_path: Path) -> None:
    """One odd value makes documented errors alone, and only for its own run."""
    faults = list[str]()
    for table, column, value in sampled(CASES, share):
        path = tmp_path / "runs.db"
        shutil.copyfile(sound, path)
        change_value(path, table, column, value)
        calls = Calls(path)
        try:
            calls.check_good_ones()
        except BaseException as error:  # noqa: BLE001 - all are collected
            calls.faults.append(f"the others: {error!r}")
        calls.check(ODD)
        calls.close()
        faults += [f"{table}.{column} = {str(value)[:40]!r}: {fault}" for fault in calls.faults]
    assert faults == []


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=ALL)])
def test_odd_tables(share: int, sound: Path, tmp_path: Path) -> None:
    """Tables, views and triggers of others make documented errors alone."""
    faults = list[str]()
    for name in sampled(SCHEMAS, share):
        path = tmp_path / "runs.db"
        shutil.copyfile(sound, path)
        change_schema(path, SCHEMAS[name])
        calls = Calls(path)
        calls.check(ODD)
        calls.close()
        faults += [f"{name}: {fault}" for fault in calls.faults]
    assert faults == []


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_tables_of_a_later_release(name: str, sound: Path, tmp_path: Path) -> None:
    """With further columns, and without indexes, every call works."""
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    change_schema(path, NEIGHBOURS[name])
    calls = Calls(path)
    calls.check_good_ones()
    calls.check("new")
    assert (calls.faults, calls.failed) == ([], set())
    calls.close()


@pytest.mark.parametrize("columns", ["footer = NULL", "footer = NULL, payload = NULL"])
def test_missing_snapshot_is_damage(columns: str, sound: Path, tmp_path: Path) -> None:
    """A stored run whose snapshot is gone is refused, and not begun anew."""
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    sql(path, f"UPDATE runs SET {columns}")  # noqa: S608
    cp = CheckpointFlow(path, "sqlite", fsync=False, name="f")
    cp.add_step(name="a")(lambda state: None)
    for call in (lambda: cp.run({}, run_id=GOOD), lambda: cp.read(GOOD), lambda: cp.header(GOOD)):
        with pytest.raises(CorruptSnapshotError):
            call()
    assert cp.runs() == []
    cp.reset(run_id=GOOD)
    assert cp.run({"n": 1}, run_id=GOOD) == {"n": 1}


def test_no_calendar_has_the_time_of_the_claim(sound: Path, tmp_path: Path) -> None:
    """A run in progress names its owner, whatever another program stored beside it."""
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    for odd in (1e308, float("inf"), "long ago", b"\xff"):
        sql(path, "UPDATE runs SET claimed_at = ?", odd)
        with pytest.raises(RunInProgressError) as info:
            make_flow(path).run(run_id=ODD)
        assert (info.value.pid, info.value.host) == (7, "far-away")


def test_pages_have_an_end(sound: Path, tmp_path: Path) -> None:
    """A time that was changed in the row alone gives each run once, a page at a time."""
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    for odd in (-1.0, 1e308, float("inf"), float("-inf")):
        sql(path, "UPDATE runs SET started_at = ? WHERE run_id = ?", odd, ODD)
        cp, found, last = make_flow(path), list[str | None](), None
        while page := cp.runs(limit=1, after=last):
            last = page[-1]
            found.append(last.run_id)
            assert len(found) <= 3
        assert sorted(map(str, found)) == sorted([ODD, GOOD, DONE])


def test_rows_that_cannot_be_deleted(sound: Path, tmp_path: Path) -> None:
    """Pruning ends where a trigger of another program keeps the rows, and counts none of them."""
    path = tmp_path / "runs.db"
    shutil.copyfile(sound, path)
    sql(path, "CREATE TRIGGER t BEFORE DELETE ON runs BEGIN SELECT RAISE(IGNORE); END")
    cp = make_flow(path)
    assert cp.prune(timedelta(0), status={"finished", "stopped"}) == 0
    assert len(cp.runs()) == 3
    sql(path, "DROP TRIGGER t")
    assert cp.prune(timedelta(0), status={"finished", "stopped"}) == 2
