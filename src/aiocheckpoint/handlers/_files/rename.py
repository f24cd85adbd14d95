"""Renaming a file over another one, or exchanging the names of two.

A rename over another file makes ext4 write the new file's blocks out at once, unless it is mounted
with noauto_da_alloc (see the kernel's Documentation/admin-guide/ext4.rst). Without `fsync` that
wait is useless: it takes 110 to 160 µs of the 140 to 190 µs of a small file. An exchange of the
names, and deleting the old file under its new name, takes 16 µs (measured on Linux 6.18).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_LINKS", "exchange", "put_in_place", "rename", "rename_patiently"]

# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION: a virus scanner, an indexer or
# a reader has the file open for a moment (Microsoft, "System Error Codes (0-499)").
_BUSY = frozenset({5, 32, 33})
_PAUSES = tuple(0.001 * 2**number for number in range(10))


def rename_patiently(
    move: Callable[[], None], pause: Callable[[float], object] = time.sleep
) -> None:
    """Call `move`, again and again for about a second while Windows says that a file is busy.

    Raises:
        OSError: The last one that `move` raised.
    """
    for seconds in _PAUSES:
        try:
            return move()
        except OSError as error:
            if getattr(error, "winerror", None) not in _BUSY:
                raise
        pause(seconds)
    return move()


if sys.platform == "win32":
    # MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH: "does not return until the file is
    # actually moved on the disk" (Microsoft, "MoveFileExW").
    _REPLACE, _THROUGH = 1, 8
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

    def rename(source: str, target: str, *, durable: bool) -> None:
        """Rename a file over another."""
        flags = _REPLACE | _THROUGH if durable else _REPLACE

        def move() -> None:
            if not _kernel32.MoveFileExW(source, target, flags):
                raise ctypes.WinError(ctypes.get_last_error())

        rename_patiently(move)

else:

    def rename(source: str, target: str, *, durable: bool) -> None:  # noqa: ARG001
        """Rename a file over another. Flushing the directory makes it durable."""
        os.replace(source, target)


def put_in_place(source: str, target: str) -> None:
    """Give a file another name that is free. Where it needs a link, the old name stays as well.

    Raises:
        FileExistsError: There is a target.
        OSError: The system refuses it.
    """
    if _renameat2 is not None:
        names = os.fsencode(source), os.fsencode(target)
        if not _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE):
            return
    if sys.platform == "win32":
        os.rename(source, target)
    else:
        _link(source, target)  # The file system or the kernel lacks the call.


NO_LINKS = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS, errno.EIO}
)
"""The answers of link(2) on file systems without hard links. EIO is that of some FUSE ones."""


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        raise StorageError(
            target,
            f"the file system of {target} can neither link files nor rename one without replacing "
            "another. Use a path on a local disk.",
            errno=error.errno,
        ) from error


_AT_FDCWD = -100
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2


def exchange(one: str, other: str) -> bool:
    """Let two files exchange their names atomically, by renameat2(2).

    Returns:
        Whether the names were exchanged. Nothing changes where a file is missing, or where the C
        library, the kernel or the file system lacks the call.
    """
    if _renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return not _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)


def _find() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        path, number = ctypes.c_char_p, ctypes.c_int
        function.argtypes = (number, path, number, path, ctypes.c_uint)
        function.restype = number
    return function


_renameat2 = _find()
