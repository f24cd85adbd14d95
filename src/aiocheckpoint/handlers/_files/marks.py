"""What shows that a file has changed, for the price of a look at it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

__all__ = ["SETTLED_NANOSECONDS", "FileMark"]

SETTLED_NANOSECONDS = 100_000_000
"""Times of files come from a clock that may tick every 10 ms (time(7), "The software clock, HZ, and
jiffies"). A change within the same tick as the last one shows in no time."""


class FileMark(NamedTuple):
    """A file as it was seen. -1 in each where there is none."""

    device: int = -1
    inode: int = -1
    size: int = -1
    changed: int = -1

    @classmethod
    def of(cls, path: str) -> FileMark:
        """Look at a file.

        Raises:
            OSError: There is none, or it cannot be looked at.
        """
        seen = os.stat(path)
        return cls(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)

    @classmethod
    def of_any(cls, path: str) -> FileMark:
        """Look at a file that may not be there. One that cannot be looked at counts as none."""
        try:
            return cls.of(path)
        except (OSError, ValueError):
            return cls()

    def is_settled(self) -> bool:
        """Whether a later change of the file will show in its time."""
        return time.time_ns() - self.changed > SETTLED_NANOSECONDS
