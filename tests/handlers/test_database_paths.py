"""Paths of databases that lack their scheme, or name no file, are refused before a run begins."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import (
    CheckpointFlow,
    InvalidValueError,
    LocalStateHandler,
    StorageError,
    inspect,
    inspect_all,
    open_handler,
)
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

posix = pytest.mark.skipif(not hasattr(os, "pread"), reason="only a database in use is known")
REFUSED = r"is a SQLite database.*sqlite:///.*handler='sqlite'"


def make_database(path: Path) -> None:
    """Make a database that is closed again."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")


def test_a_flow_without_the_scheme(tmp_path: Path) -> None:
    """A flow on the path of a database is refused, so that no finished run is done again beside."""
    path = tmp_path / "orders.db"
    cp = CheckpointFlow(f"sqlite:///{path}")
    cp.add_step(name="a")(lambda state: None)
    cp.run({"n": 1}, run_id="order-1", once=True)
    names = {file.name for file in tmp_path.iterdir()}
    for _ in range(2):
        with pytest.raises(StorageError, match=REFUSED):
            CheckpointFlow(path, name="orders")
    assert {file.name for file in tmp_path.iterdir()} == names
    assert cp.run({"n": 1}, run_id="order-1", once=True) == {"n": 1}
    cp.handler.close()


@posix
@pytest.mark.parametrize("make", [LocalStateHandler, CheckpointFlow])
def test_a_database_that_is_closed(make: Callable[[Path], object], tmp_path: Path) -> None:
    """The file itself says what it is, also where no connection of this process has it open."""
    path = tmp_path / "orders.db"
    make_database(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=REFUSED):
        make(path)
    assert path.read_bytes() == before


def test_other_files_are_taken(tmp_path: Path) -> None:
    """Nothing, an empty file, a snapshot, a directory and a short file are no databases."""
    for name, content in (("empty.pkl", b""), ("short.pkl", b"SQLite"), ("none.pkl", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        LocalStateHandler(tmp_path / name)
    LocalStateHandler(tmp_path)
    LocalStateHandler(f"{tmp_path}/new/")


@posix
def test_a_file_that_becomes_a_database(tmp_path: Path) -> None:
    """It is refused by its own run, and stays."""
    path = tmp_path / "orders.db"
    cp = CheckpointFlow(path)
    cp.add_step(name="a")(lambda state: None)
    make_database(path)
    with pytest.raises(StorageError, match=REFUSED):
        cp.run({})


def test_a_subclass_with_its_own_write(tmp_path: Path) -> None:
    """A handler that stores dicts in its own way may use a database at its path."""

    class InTable(LocalStateHandler):
        def write(self, state: dict[str, Any], run_id: str | None = None) -> None:
            raise NotImplementedError

    path = tmp_path / "orders.db"
    make_database(path)
    assert InTable(path).path == path


@pytest.mark.parametrize("handler", ["local", "sqlite"])
def test_one_colon(handler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without slashes is refused. A path may still name such a file."""
    monkeypatch.chdir(tmp_path)
    words = r"'sqlite:runs\.db' is a path.*'sqlite:///runs\.db'.*'\./sqlite:runs\.db'"
    with pytest.raises(InvalidValueError, match=words):
        CheckpointFlow("sqlite:runs.db", handler)
    for call in (inspect, inspect_all, open_handler):
        with pytest.raises(InvalidValueError, match=words):
            call("sqlite:runs.db")
    CheckpointFlow("./sqlite:runs.db", handler)
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is named, and no file of that name is made. The error names what keeps runs there."""
    monkeypatch.chdir(tmp_path)
    words = r":memory:' is no file.*testing\.MemoryStateHandler"
    for make in (
        lambda: CheckpointFlow("sqlite:///:memory:"),
        lambda: CheckpointFlow(":memory:", "sqlite"),
        lambda: open_handler("sqlite:///:memory:"),
        lambda: SqliteStateHandler("sqlite://:memory:"),
    ):
        with pytest.raises(InvalidValueError, match=words):
            make()
    assert list(tmp_path.iterdir()) == []
