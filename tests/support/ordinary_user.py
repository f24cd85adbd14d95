"""Tests that need a user who may not write everywhere, as root may."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

MARK = "ordinary"
_RIGHTS = "dac_override,dac_read_search"


@cache
def may_write_everywhere() -> bool:
    """Whether this user may write to files that nobody may write to."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.touch(0o400)
        return os.access(file, os.W_OK)


def as_ordinary_user() -> list[str] | None:
    """Give the words before a command that take root's right to any file, or None.

    The user stays the same, so that the Python and the tree of root stay readable
    (https://man7.org/linux/man-pages/man1/setpriv.1.html).
    """
    setpriv = shutil.which("setpriv")
    return None if setpriv is None else [setpriv, f"--bounding-set=-{_RIGHTS.replace(',', ',-')}"]
