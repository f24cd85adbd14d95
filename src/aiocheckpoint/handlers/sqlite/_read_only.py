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
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers._files.databases import file_identity, protect, read_held, unprotect
from aiocheckpoint.handlers.sqlite._errors import foreign_database, is_refused, translate_error
from aiocheckpoint.handlers.sqlite._schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ReadOnlyDatabase"]

_SECONDS_FOR_OTHERS = 10.0
SETTLED_SECONDS = 0.1
"""Times of files come from a clock that may tick every 10 ms, see `DatabaseFiles.check`."""
_TRIES = 3


class ReadOnlyDatabase:
    """A database that is read and not changed, for the time of a `with` block.

    Args:
        path: Its absolute path.

    Raises:
        StorageError: It cannot be read, or is another program's.
        IncompatibleSnapshotError: Its tables are of a later version of this library.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._copy: str | None = None

    def __enter__(self) -> Self:
        try:
            self._check_tables()
        except BaseException:
            self._delete_copy()
            raise
        return self

    def _check_tables(self) -> None:
        (owner,), (version,) = (
            self.rows(f"PRAGMA {name}")[0] for name in ("application_id", "user_version")
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
        self._delete_copy()

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Give all rows of a statement. No transaction is left open.

        Raises:
            StorageError: The database cannot be read.
        """
        try:
            if self._copy is None:
                rows = self._undisturbed_rows(statement, values)
                if rows is not None:
                    return rows
                try:
                    return self.query(statement, values)
                except sqlite3.Error as error:
                    if not is_refused(error):
                        raise
                rows = self._undisturbed_rows(statement, values, most_wal_bytes=0)
                if rows is not None:
                    return rows
                self._copy = self._copied()
            return self.query(statement, values)
        except sqlite3.Error as error:
            raise translate_error(error, self._path, "reading") from error
        except StorageError:
            raise
        except OSError as error:
            raise StorageError.of(self._path, "reading", error) from error

    def _undisturbed_rows(
        self, statement: str, values: tuple[Any, ...], most_wal_bytes: int = -1
    ) -> list[Any] | None:
        """The rows of a database whose file has all commits. None where it may lack some.

        Args:
            statement: The statement.
            values: Its values.
            most_wal_bytes: The most bytes of a "-wal". -1 where there may be none at all.
        """
        before = self._marks()
        (_, changed), (wal_bytes, _) = before
        if wal_bytes > most_wal_bytes or time.time() - changed < SETTLED_SECONDS:
            return None
        rows = self.query(statement, values, mode="immutable=1")
        return rows if self._marks() == before else None

    def _marks(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """Length and time of the file, and of the "-wal". Its length is -1 where there is none."""
        file, wal = os.stat(self._path), (-1, 0.0)
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(f"{self._path}-wal")
            wal = found.st_size, found.st_mtime
        return (file.st_size, file.st_mtime), wal

    def query(self, statement: str, values: tuple[Any, ...], *, mode: str = "mode=ro") -> list[Any]:
        """Give the rows by a connection of its own, which is closed again."""
        identity = file_identity(self._path) or (0, 0)
        path = self._path if self._copy is None else self._copy
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?{mode}",
            uri=True,
            timeout=_SECONDS_FOR_OTHERS,
            isolation_level=None,
        )
        protect(connection, identity)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()
            unprotect(connection)

    def _copied(self) -> str:
        """Copy the file and its "-wal" while nobody changes them, and give the path of the copy."""
        directory = tempfile.mkdtemp(prefix="aiocheckpoint-")
        copy = os.path.join(directory, "copy.db")
        try:
            for _ in range(_TRIES):
                before = self._marks()
                with open(copy, "wb") as file:
                    file.writelines(read_held(self._path))
                if before[1][0] >= 0:
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

    def _delete_copy(self) -> None:
        if self._copy is not None:
            shutil.rmtree(os.path.dirname(self._copy), ignore_errors=True)
            self._copy = None
