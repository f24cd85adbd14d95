"""The three files of an open database, and whether they are still those that were opened."""

from __future__ import annotations

import os
import sqlite3

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import protect, unprotect

__all__ = ["DatabaseFiles", "refuse_stale"]

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


_open: dict[tuple[int, int], list[DatabaseFiles]] = {}
"""The files of all connections of this process, by the identity of the database's own file."""


class DatabaseFiles:
    """The database's file, its "-wal" and its "-shm", as they were when a connection opened them.

    SQLite goes on with files that were deleted, moved or replaced. A process that opens the
    database later has other files, and finds nothing of what is stored in the old ones.

    Args:
        path: Absolute path of the database, which a connection has opened.
        identity: Device and inode of the file that it has opened.

    Attributes:
        identity: The same.
    """

    def __init__(self, path: str, identity: tuple[int, int]) -> None:
        self.identity: tuple[int, int] = identity
        self._path, self._wal, self._shm = path, f"{path}-wal", f"{path}-shm"
        wal, shm = _look(self._wal), _look(self._shm)
        self._wal_identity, self._shm_identity = _identity(wal), _identity(shm)
        self._wal_bytes = _size(wal)

    def register(self) -> None:
        """Note that a connection of this process has the files open."""
        _open.setdefault(self.identity, []).append(self)
        protect(self.identity)

    def unregister(self) -> None:
        """Note that the connection was closed."""
        _open[self.identity].remove(self)
        unprotect(self.identity)

    @property
    def is_shared(self) -> bool:
        """Whether another connection of this process has the same files open."""
        return len(_open[self.identity]) > 1

    def are_gone(self) -> bool:
        """Whether `check` fails."""
        try:
            self.check()
        except StorageError:
            return True
        return False

    def check(self) -> None:
        """Check that all three are the same files as before.

        Raises:
            StorageError: One of them was deleted, moved or replaced.
        """
        if _identity(_look(self._path)) != self.identity:
            raise StorageError(
                self._path,
                f"{self._path} was deleted, moved or replaced while it was in use. Runs in "
                "progress can store nothing more. Put it back, or run again to start in the new "
                "file.",
            )
        wal = _look(self._wal)
        if wal is None or _identity(wal) != self._wal_identity:
            raise _damaged(self._wal, self._path)
        shm = _look(self._shm)
        if shm is None or _identity(shm) != self._shm_identity:
            raise _damaged(self._shm, self._path)
        self._wal_bytes = wal.st_size

    def check_wal(self, connection: sqlite3.Connection) -> None:
        """Check that no other program has cut the "-wal" since the last `check`.

        A checkpoint may empty the "-wal". SQLite then knows of no frames in it.

        Raises:
            StorageError: It was cut.
        """
        if _size(_look(self._wal)) >= self._wal_bytes:
            return
        try:
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # SQLite misses frames that it has written.
            raise _damaged(self._wal, self._path) from error
        known = frames and _WAL_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes)
        if _size(_look(self._wal)) < known:
            raise _damaged(self._wal, self._path)


def refuse_stale(path: str) -> None:
    """Refuse to open a database while this process has an old "-wal" or "-shm" of it open.

    All connections of a process share the "-shm" that the first of them opened. A new one would
    use the old "-shm" with the new "-wal".

    Raises:
        StorageError: A connection is still to be closed. The next use of it closes it.
    """
    identity = _identity(_look(path))
    for files in tuple(_open.get(identity, ())) if identity is not None else ():
        files.check()


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)


def _size(found: os.stat_result | None) -> int:
    return 0 if found is None else found.st_size


def _damaged(path: str, database: str) -> StorageError:
    return StorageError(
        database,
        f"{path} was deleted, replaced or cut while {database} was in use. Runs in progress can "
        "store nothing more. Run again to resume from the stored states. Files of a database in "
        "use must not be copied, moved or deleted one by one.",
    )
