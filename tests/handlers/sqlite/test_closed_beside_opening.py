"""A database that one thread opens while another thread closes the last connection to it."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import StorageError
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers.sqlite import _closing, _open_files
from aiocheckpoint.handlers.sqlite._connection import OpenDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if sys.platform == "linux":
    import fcntl


def before_looking_at(end: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `act` happen between two looks of a check, before the look at one file."""

    def look(path: str, *, follow: bool = True) -> tuple[int, int] | None:
        if path.endswith(end):
            monkeypatch.undo()
            act()
        return file_identity(path, follow=follow)

    monkeypatch.setattr(_open_files, "file_identity", look)


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_own_closing_is_no_fault(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite deletes the files with the last connection, in the midst of the check."""
    path = str(tmp_path / "runs.db")
    first = OpenDatabase(path, durable=False)
    before_looking_at(end, first.close, monkeypatch)
    _open_files.refuse_stale(path)
    assert not (tmp_path / f"runs.db{end}").exists()
    second = OpenDatabase(path, durable=False)
    second.files.check()
    second.close()


@pytest.mark.leaves_files
@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_others_deleting_is_a_fault(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program deletes a file in the midst of the check."""
    path = str(tmp_path / "runs.db")
    first = OpenDatabase(path, durable=False)
    before_looking_at(end, (tmp_path / f"runs.db{end}").unlink, monkeypatch)
    with pytest.raises(StorageError, match=f"{end} was deleted"):
        _open_files.refuse_stale(path)
    first.close_untouched()


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 12), reason="closes without a lock"
)
def test_two_close_a_deleted_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads close connections to a deleted file, one in the midst of the other's closing."""
    path = tmp_path / "runs.db"
    first, second = (OpenDatabase(str(path), durable=False) for _ in range(2))
    path.unlink()
    set_lock, locks = _closing._set_lock, list[int]()  # noqa: SLF001

    def interrupted(descriptor: int, kind: int) -> None:
        set_lock(descriptor, kind)
        locks.append(kind)
        if len(locks) == 1:
            second.close_untouched()

    monkeypatch.setattr(_closing, "_set_lock", interrupted)
    first.close_untouched()
    assert locks == [fcntl.F_RDLCK, fcntl.F_RDLCK, fcntl.F_UNLCK, fcntl.F_UNLCK]
    for opened in (first, second):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            opened.connection.execute("SELECT 1")
