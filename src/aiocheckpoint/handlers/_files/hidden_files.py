"""Opening the small hidden files beside a run's for writing."""

from __future__ import annotations

import os

__all__ = ["open_hidden"]

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
