"""The three files of an open database, and whether they are still those that were opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import sys
import time

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files import marks
from aiocheckpoint.handlers._files.databases import file_identity, protect, unprotect

__all__ = ["DatabaseFiles", "WalLength", "moved", "refuse_stale"]

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_SALTS = slice(16, 24)
_FRAMES_AT_ONCE = 1024
_TRIES = 3

_open: dict[DatabaseFiles, None] = {}
"""The files of all connections of this process, and of its parent before a fork."""


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
        self._directory = os.path.dirname(path)
        self._unchanged: tuple[int, int, int] | None = None
        self._wal_identity, self._shm_identity = file_identity(self._wal), file_identity(self._shm)
        self._pid = os.getpid()
        _open[self] = None
        protect(self, identity)

    def unregister(self) -> None:
        """Note that the connection was closed."""
        _open.pop(self, None)
        unprotect(self)

    @property
    def is_shared(self) -> bool:
        """Whether another connection of this process has the same file open."""
        return any(files is not self for files in _open_in_process(self.identity))

    def are_gone(self) -> bool:
        """Whether `check` fails."""
        try:
            self.check()
        except StorageError:
            return True
        return False

    def check(self) -> None:
        """Check that all three are the same files as before.

        The system notes in the directory when a name in it comes, goes or gets another file. So the
        files are looked at only when the directory has changed. A look at one name takes as long as
        the directory's, and this check is made at each commit.

        Raises:
            StorageError: One of them was deleted, moved or replaced.
        """
        now = time.time_ns()
        folder = _look(self._directory)
        mark = None if folder is None else (folder.st_dev, folder.st_ino, folder.st_mtime_ns)
        if mark is not None and mark == self._unchanged:
            return
        self._check_each()
        is_old = mark is not None and now - mark[2] > marks.SETTLED_NANOSECONDS
        is_settled = is_old and sys.platform != "win32"
        self._unchanged = mark if is_settled else None

    def check_for_another(self) -> None:
        """Check, for another connection that is to be opened, that all three are the same files.

        Raises:
            StorageError: They are not.
        """
        if self._pid != os.getpid() and self.are_gone():
            raise StorageError(
                self._path,
                f"this process was forked from one that had {self._path} open, and that has closed "
                "it since. SQLite cannot open it here. Start the process by 'spawn', or fork "
                "before the first use.",
            )
        self._check_each()

    def _check_each(self) -> None:
        # A symbolic link that was put in the place of the file is another file: SQLite names the
        # "-wal" by the path behind it.
        if file_identity(self._path, follow=False) != self.identity:
            raise moved(self._path)
        if self._wal_identity is None or file_identity(self._wal) != self._wal_identity:
            raise _damaged(self._wal, self._path)
        if self._shm_identity is None or file_identity(self._shm) != self._shm_identity:
            raise _damaged(self._shm, self._path)


class WalLength:
    """The length of the "-wal", which no other program may cut.

    Args:
        path: Absolute path of the database.
    """

    def __init__(self, path: str) -> None:
        self._path, self._wal = path, f"{path}-wal"
        try:
            # SQLite has no locks on this file that closing the descriptor could drop.
            self._descriptor = os.open(self._wal, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise StorageError.of(path, "opening", error) from error
        self._known = 0
        self.note()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def note(self) -> None:
        """Note the length after a commit."""
        self._known = self._length()

    def check(self, connection: sqlite3.Connection) -> None:
        """Check that the file was not cut since the last `note`.

        A checkpoint may empty it. SQLite then knows of no frames in it.

        Raises:
            StorageError: It was cut.
        """
        if self._length() >= self._known:
            return
        self.check_frames(connection)
        try:
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # SQLite misses frames that it has written.
            raise _damaged(self._wal, self._path) from error
        expected = frames and _WAL_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes)
        if self._length() < expected:
            raise _damaged(self._wal, self._path)

    def check_frames(self, connection: sqlite3.Connection) -> None:
        """Check that the file has no hole, as one that was cut and then written has.

        A checkpoint would copy the zeros of the hole into the database.

        Raises:
            StorageError: It has.
        """
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        # Another process may begin the file anew at the same time.
        if not any(self._is_whole(page_bytes + _FRAME_HEADER_BYTES) for _ in range(_TRIES)):
            raise _damaged(self._wal, self._path)

    def _is_whole(self, frame_bytes: int) -> bool:
        """Whether the frames of the present log are all at the beginning of the file.

        Each frame has the salts of the header. Frames left of an earlier log have others
        (https://www.sqlite.org/fileformat2.html, section 4.1).
        """
        length, header = self._length(), self._read(0, _WAL_HEADER_BYTES)
        if not _is_header(header):
            return not length
        salts, is_behind = header[_SALTS], False
        # Many frames at once: after each read this thread may wait for the interpreter's lock.
        for start in range(_WAL_HEADER_BYTES, length, _FRAMES_AT_ONCE * frame_bytes):
            frames = self._read(start, _FRAMES_AT_ONCE * frame_bytes)
            for at in range(0, len(frames), frame_bytes):
                belongs = frames[at + 8 : at + 16] == salts
                if belongs and is_behind:
                    return False
                is_behind = is_behind or not belongs
        return True

    def _read(self, offset: int, count: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return os.read(self._descriptor, count)

    def _length(self) -> int:
        try:
            # Twice at each commit, in a quarter of the time of `fstat`. Every reader seeks first.
            return os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise StorageError.of(self._path, "looking at", error) from error


def _is_header(header: bytes) -> bool:
    """Whether bytes are the header of a "-wal". Its checksum is in the last 8 bytes."""
    if not header.startswith(_MAGIC) or len(header) != _WAL_HEADER_BYTES:
        return False
    first = second = 0
    for one, other in struct.iter_unpack(">II" if header[3] & 1 else "<II", header[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second) == header[24:]


def refuse_stale(path: str) -> None:
    """Refuse to open a database while this process has an old "-wal" or "-shm" of it open.

    All connections of a process share the "-shm" that the first of them opened. A new one would
    use the old "-shm" with the new "-wal".

    Raises:
        StorageError: Such a connection is still open. Its next use closes it, unless it is one of
            this process's parent before a fork.
    """
    for files in _open_in_process(file_identity(path)):
        try:
            files.check_for_another()
        except StorageError:
            if files in _open:  # Not closed during the check by another thread, which may delete.
                raise


def _open_in_process(identity: tuple[int, int] | None) -> list[DatabaseFiles]:
    # `list` and not `tuple`: before the latter is made, a garbage collection may change the dict.
    return [files for files in list(_open) if files.identity == identity]


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error


def moved(path: str) -> StorageError:
    """The error for a database that is no longer at its path."""
    return StorageError(
        path,
        f"{path} was deleted, moved or replaced while it was in use. Runs in progress can store "
        "nothing more. Put it back, or run again to start in the new file.",
    )


def _damaged(path: str, database: str) -> StorageError:
    return StorageError(
        database,
        f"{path} was deleted, replaced or cut while {database} was in use. Runs in progress can "
        "store nothing more. Run again to resume from the stored states. Files of a database in "
        "use must not be copied, moved or deleted one by one.",
    )
