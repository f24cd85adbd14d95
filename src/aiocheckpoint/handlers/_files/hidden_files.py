"""The small hidden files beside a run's: read, and opened for writing."""

from __future__ import annotations

import os

from aiocheckpoint.handlers._files.reading import open_regular

__all__ = ["open_hidden", "read_hidden"]

_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_MODE = 0o600


def open_hidden(path: str, *, appends: bool = False) -> int:
    """Open a file that its owner alone may read, or make it. What is in it stays.

    Args:
        path: The file. A link is not followed.
        appends: Whether all is written behind its end.

    Returns:
        The descriptor.

    Raises:
        OSError: The file cannot be opened.
    """
    return os.open(path, _FLAGS | os.O_APPEND if appends else _FLAGS, _MODE)


def read_hidden(path: str, most: int = -1) -> bytes | None:
    """Read a file that is seldom there. None where there is none.

    Args:
        path: The file.
        most: How many bytes to read at the most. -1 for all.

    Raises:
        StorageError: The file cannot be read, or is no regular file.
    """
    if not os.path.lexists(path):  # In less than half the time of an open.
        return None
    file = open_regular(path)
    if file is None:
        return None
    with file:
        return file.read(most)
