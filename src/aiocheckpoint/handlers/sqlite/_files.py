"""The three files of an open database, and whether they are still those that were opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DatabaseFiles"]

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


class DatabaseFiles:
    """The database's file, its "-wal" and its "-shm", as they were when the database was opened.

    SQLite goes on with files that were deleted, moved or replaced. A process that opens the
    database later has other files, and finds nothing of what is stored in the old ones.

    Args:
        path: Absolute path of the database, which a connection has opened.
        identity: Device and inode of the file that it has opened.
    """

    def __init__(self, path: str, identity: tuple[int, int]) -> None:
        self._paths = path, f"{path}-wal", f"{path}-shm"
        self._identities = [identity, *map(file_identity, self._paths[1:])]
        self._wal_bytes = _size(self._paths[1])

    def check(self) -> None:
        """Check that all three are the same files as before.

        Raises:
            StorageError: One of them was deleted, moved or replaced.
        """
        for path, identity in zip(self._paths, self._identities, strict=True):
            if identity is None or file_identity(path) != identity:
                raise _gone(path, self._paths[0])
        self._wal_bytes = _size(self._paths[1])

    def check_wal(self, connection: sqlite3.Connection) -> None:
        """Check that no other program has cut the "-wal" since the last `check`.

        A checkpoint may empty the "-wal". SQLite then knows of no frames in it.

        Raises:
            StorageError: It was cut.
        """
        if _size(self._paths[1]) >= self._wal_bytes:
            return
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        known = frames and _WAL_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes)
        if _size(self._paths[1]) < known:
            raise _gone(self._paths[1], self._paths[0])


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error


def _gone(path: str, database: str) -> StorageError:
    if path == database:
        return StorageError(
            path,
            f"{path} was deleted, moved or replaced while it was in use. Runs in progress can "
            "store nothing more. Put it back, or run again to start in the new file.",
        )
    return StorageError(
        database,
        f"{path} was deleted, replaced or cut while {database} was in use. Runs in progress can "
        "store nothing more. Run again to resume from the stored states. Files of a database in "
        "use must not be copied, moved or deleted one by one.",
    )
