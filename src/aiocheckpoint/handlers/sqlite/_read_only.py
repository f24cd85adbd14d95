"""Reading a database without changing a byte of it, also by users who may not write it.

A connection with mode=ro sees all that is committed. It makes a "-wal" and a "-shm" where there are
none, so a closed database is read with immutable=1, which makes no file and takes no lock. That is
right only while nobody writes, so the file is looked at before and after. Where the rights for
mode=ro are missing, a database without commits in its "-wal" is read in the same way. Of any other,
file and "-wal" are copied to a temporary directory (https://www.sqlite.org/wal.html, section 5,
https://www.sqlite.org/uri.html).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers._files.databases import file_identity, protect, read_held, unprotect
from aiocheckpoint.handlers._files.marks import FileMark
from aiocheckpoint.handlers.sqlite._errors import foreign_database, is_refused, translate_error
from aiocheckpoint.handlers.sqlite._schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["ReadOnlyDatabase"]

_Result = TypeVar("_Result")

_SECONDS_FOR_OTHERS = 10.0
_TRIES = 3
_PRAGMAS = ("PRAGMA user_version", "PRAGMA application_id")


class _Marks(NamedTuple):
    """What shows that the files of a database have changed.

    Attributes:
        file: That of the file.
        wal: That of the "-wal", which may not be there.
    """

    file: FileMark
    wal: FileMark

    def are_settled(self, most_wal_bytes: int) -> bool:
        """Whether the file has all commits, and nobody has written it just now.

        Args:
            most_wal_bytes: The most bytes of a "-wal". -1 where there may be none at all.
        """
        return self.wal.size <= most_wal_bytes and self.file.is_settled()


class _Opened(NamedTuple):
    """An open connection.

    Attributes:
        connection: The connection.
        marks: The marks of a file that is read as if it never changed. None for any other.
        identity: Device and inode of the file.
    """

    connection: sqlite3.Connection
    marks: _Marks | None
    identity: tuple[int, int]


class ReadOnlyDatabase:
    """A database that is read and not changed, for the time of a `with` block.

    One connection is open for the block. No transaction is left open between two readings.

    Args:
        path: Its absolute path.

    Raises:
        StorageError: It cannot be read, is another program's, or has no tables yet.
        IncompatibleSnapshotError: Its tables are of a later version of this library.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._copy: str | None = None
        self._opened: _Opened | None = None

    def __enter__(self) -> Self:
        try:
            self._check_tables()
        except BaseException:
            self._end()
            raise
        return self

    def _check_tables(self) -> None:
        # Another process may be making the tables: this order sees its one commit or nothing.
        ((tables,),) = self.rows("SELECT count(*) FROM sqlite_master")
        ((version,),), ((owner,),) = map(self.rows, _PRAGMAS)
        if not (owner or version or tables):
            raise StorageError(
                self._path, f"nothing is stored in {self._path} yet.", errno=errno.ENOENT
            )
        if owner != APPLICATION_ID:
            raise foreign_database(self._path)
        if version > len(MIGRATIONS):
            reason = f"its tables are of version {version}; install a later release"
            raise IncompatibleSnapshotError(self._path, reason)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._close()
        if self._copy is not None:
            shutil.rmtree(os.path.dirname(self._copy), ignore_errors=True)
            self._copy = None

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Give all rows of a statement.

        Raises:
            StorageError: The database cannot be read.
        """
        return self.read(lambda connection: connection.execute(statement, values).fetchall())

    def read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Give the result of a function that reads, and leaves no statement unfinished.

        It is called again where somebody has changed the file meanwhile.

        Raises:
            StorageError: The database cannot be read.
        """
        try:
            while True:
                opened = self._current()
                result = work(opened.connection)
                if opened.marks is None or opened.marks == self._marks():
                    return result
                self._close()
        except sqlite3.Error as error:
            raise translate_error(error, self._path, "reading") from error
        except StorageError:
            raise
        except OSError as error:
            raise StorageError.of(self._path, "reading", error) from error

    def _current(self) -> _Opened:
        """The open connection, if it still reads the file at the path, else a new one."""
        opened = self._opened
        if opened is not None:
            if self._copy is not None or opened.marks == self._marks():
                return opened
            if opened.marks is None and opened.identity == file_identity(self._path):
                return opened
            self._close()
        self._opened = opened = self._open()
        return opened

    def _open(self) -> _Opened:
        marks = self._marks()
        if marks.are_settled(-1):
            return self.connect("immutable=1", marks)
        try:
            return self.connect("mode=ro", None)
        except sqlite3.Error as error:
            if not is_refused(error):
                raise
        marks = self._marks()
        if marks.are_settled(0):
            return self.connect("immutable=1", marks)
        self._copy = self._copied()
        return self.connect("mode=ro", None)

    def connect(self, mode: str, marks: _Marks | None) -> _Opened:
        """Open the file, or its copy, and take the first look at it.

        Raises:
            sqlite3.Error: It cannot be read in this mode.
        """
        identity = file_identity(self._path) or (0, 0)
        connection = sqlite3.connect(
            f"{Path(self._copy or self._path).as_uri()}?{mode}",
            uri=True,
            timeout=_SECONDS_FOR_OTHERS,
            isolation_level=None,
            check_same_thread=False,
        )
        protect(connection, identity)
        opened = _Opened(connection, marks, identity)
        try:
            connection.execute("PRAGMA schema_version").fetchall()
        except BaseException:
            self._close(opened)
            raise
        return opened

    def _close(self, opened: _Opened | None = None) -> None:
        opened = opened or self._opened
        if opened is not None:
            opened.connection.close()
            unprotect(opened.connection)
            self._opened = None

    def _marks(self) -> _Marks:
        file, wal = FileMark.of(self._path), FileMark()
        with contextlib.suppress(FileNotFoundError):
            wal = FileMark.of(f"{self._path}-wal")
        return _Marks(file, wal)

    def _copied(self) -> str:
        """Copy the file and its "-wal" while nobody changes them, and give the path of the copy."""
        directory = tempfile.mkdtemp(prefix="aiocheckpoint-")
        copy = os.path.join(directory, "copy.db")
        try:
            for _ in range(_TRIES):
                before = self._marks()
                with open(copy, "wb") as file:
                    file.writelines(read_held(self._path))
                if before.wal.size >= 0:
                    shutil.copyfile(f"{self._path}-wal", f"{copy}-wal")
                if self._marks() == before:
                    words = "%s was read from a copy, for want of rights"
                    log(logging.INFO, NOWHERE, words, self._path)
                    return copy
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        shutil.rmtree(directory, ignore_errors=True)
        raise StorageError(
            self._path,
            f"{self._path} changes while it is copied for reading. This user may not read it in "
            "place: read it as the user that writes it.",
        )
