"""Places for copies of stores: nothing that exists is overwritten."""

from __future__ import annotations

import errno
import os

from aiocheckpoint.errors import StorageError

__all__ = ["check_vacant", "nothing_to_copy"]


def check_vacant(path: str) -> None:
    """Check that nothing is at a path, or an empty directory.

    Raises:
        StorageError: Something is, or the path cannot be looked at.
    """
    try:
        if not os.path.lexists(path) or (os.path.isdir(path) and not os.listdir(path)):
            return
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error
    raise StorageError(
        path,
        f"{path} exists already, and backup() overwrites nothing. Give a path that is new, for "
        "instance with the date in it, and delete old backups by hand.",
        errno=errno.EEXIST,
    )


def nothing_to_copy(path: str) -> StorageError:
    """The error for a store that does not exist."""
    return StorageError(
        path,
        f"nothing is stored in {path}, so there is nothing to copy. Is it the path that the flow "
        "was given?",
        errno=errno.ENOENT,
    )
