"""Checks of a database's files before SQLite opens them, and the modes of "-wal" and "-shm".

SQLite gives both files the mode of the database when it makes them. Where that is read-only at the
moment, they stay read-only, and every later write is refused. All is done by path: a file that was
opened here and closed again would drop the locks that SQLite holds on it in this process
(https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

from aiocheckpoint.errors import StorageError

__all__ = ["SIDE_FILES", "check_links", "check_writable", "mend_modes", "unwritable_file"]

SIDE_FILES = ("-wal", "-shm")
_PATIENCE_SECONDS, _PAUSE_SECONDS = 0.1, 0.01
_FOR_ITS_USER = 0o600
_BY_EFFECTIVE_USER = os.access in os.supports_effective_ids


def check_links(path: str) -> None:
    """Check that a database has no second name.

    Each name would have a "-wal" file of its own, and a process would not see, and would damage,
    what another one has written under the other name (the same page, section 2.5).

    Raises:
        StorageError: It has.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _links(path) > 1:
        if time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)  # Another process may be making the file by a link.
            continue
        raise StorageError(
            path,
            f"{path} is also known under another name: it has hard links, as 'cp -l' and some "
            "programs for backups make them. SQLite would damage it, because each name has a "
            "'-wal' file of its own. Delete the other names ('find / -xdev -samefile' lists "
            "them), or replace the file by a copy of it while no process uses it. A backup of "
            "a database is a copy, never a link.",
            errno=errno.EMLINK,
        )


def _links(path: str) -> int:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_nlink if stat.S_ISREG(status.st_mode) else 0
    return 0


def check_writable(path: str) -> None:
    """Check that this user may write to a database, before SQLite opens it for reading alone.

    A connection made for reading alone would stay so when the file is made writable.

    Raises:
        StorageError: The user may not.
    """
    if _is_writable(path):
        return
    read_only_disk = False
    with suppress(OSError, AttributeError):
        read_only_disk = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    reason = "is on a disk that is read-only" if read_only_disk else "is read-only for this user"
    raise StorageError(
        path,
        f"{path} {reason}, so that nothing can be stored in it. Make it writable and run again.",
        errno=errno.EROFS if read_only_disk else errno.EACCES,
    )


def mend_modes(path: str) -> None:
    """Let the user of the files beside a database read and write them.

    Other permissions are not touched: by a path, they could be those of another file by now.
    """
    for end in SIDE_FILES:
        with suppress(OSError):
            mode = os.lstat(path + end).st_mode
            if stat.S_ISREG(mode) and mode & _FOR_ITS_USER != _FOR_ITS_USER:
                os.chmod(path + end, stat.S_IMODE(mode) | _FOR_ITS_USER)


def unwritable_file(path: str) -> str | None:
    """Find the reason why SQLite cannot write to a database: a file beside it, or its directory."""
    beside = [path + end for end in SIDE_FILES if os.path.exists(path + end)]
    for file in (path, *beside, os.path.dirname(path)):
        if os.path.exists(file) and not _is_writable(file):
            return file
    return None


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=_BY_EFFECTIVE_USER)
