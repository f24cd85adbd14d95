"""Several threads or processes open a new database at the same moment."""

from __future__ import annotations

import sqlite3
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from lease_owners import PATIENCE

from aiocheckpoint.handlers.sqlite import _schema
from aiocheckpoint.handlers.sqlite._connection import OpenDatabase

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

ROUNDS = 30
CROWD = 4


def open_together(path: str) -> list[BaseException]:
    """Open a database in several threads at once, and return the errors."""
    together = threading.Barrier(CROWD, timeout=PATIENCE)
    wrong: list[BaseException] = []

    def open_it() -> None:
        together.wait()
        try:
            OpenDatabase(path, durable=False).close()
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_threads_open_a_new_database_together(tmp_path: Path) -> None:
    """The first thread creates the tables, and the others use them."""
    for number in range(ROUNDS):
        assert open_together(str(tmp_path / f"{number}.db")) == []


@pytest.mark.parametrize("moment", range(1, 8))
def test_tables_made_between_two_looks(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that another process creates between two checks are recognised as the library's."""
    path, looks = str(tmp_path / "runs.db"), list[str]()
    look = _schema._number  # noqa: SLF001

    def slowly(connection: sqlite3.Connection, statement: str) -> int:
        looks.append(statement)
        if len(looks) == moment:
            monkeypatch.undo()
            OpenDatabase(path, durable=False).close()
        return look(connection, statement)

    monkeypatch.setattr(_schema, "_number", slowly)
    opened = OpenDatabase(path, durable=False)
    assert opened.connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    opened.close()
    assert len(looks) == moment


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "of 0.5"])
def test_no_line_is_in_a_transaction(*, is_new: bool, writable: bool, tmp_path: Path) -> None:
    """Another thread could write at each line: a finalizer that comes there may wait for one."""
    path, lines = tmp_path / "runs.db", list[int]()
    if not is_new:
        OpenDatabase(str(path), durable=False).close()
        with closing(sqlite3.connect(path)) as connection:
            for name, statement in _schema.ADDITIONS.items():
                connection.execute(f"DROP {statement.split()[1]} {name}")

    def look(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - the trace function
        if frame.f_globals.get("__name__") != _schema.__name__:
            return None
        if event == "line" and path.exists():
            lines.append(frame.f_lineno)
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        opened = OpenDatabase(str(path), durable=False, writable=writable)
    finally:
        sys.settrace(before)
    opened.close()
    assert len(lines) > 10
