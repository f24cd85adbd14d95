"""The kernel's lock on an open file, which ends with the process."""

from __future__ import annotations

import errno
import os
import sys

from aiocheckpoint.handlers._files.lock_owner import OWNER_BYTES

__all__ = ["NO_LOCKS", "is_locked", "is_shared", "lock_file", "share_file", "unlock_file"]

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})
"""The answers of flock(2) on file systems without locks: Lustre without its mount option "flock",
NFS without a lock daemon, some FUSE file systems."""

if sys.platform == "win32":
    import msvcrt

    def lock_file(descriptor: int) -> bool:
        """Lock an open file, unless another process has locked it."""
        # Windows forbids reading locked bytes, so the lock is behind the owner's name.
        os.lseek(descriptor, OWNER_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def share_file(descriptor: int) -> bool:  # noqa: ARG001
        """Do nothing: Windows refuses to delete a file that a process has open ("CreateFileW")."""
        return True

    def is_locked(descriptor: int) -> bool:
        """Whether a process has locked an open file."""
        if not lock_file(descriptor):
            return True
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return False

    def is_shared(descriptor: int) -> bool:  # noqa: ARG001
        """Whether the lock is not taken, but shared. Nobody shares it here."""
        return False

    def unlock_file(descriptor: int) -> None:
        """Do nothing: closing the file unlocks it."""

else:
    import fcntl

    def lock_file(descriptor: int) -> bool:
        """Lock an open file, unless another process has locked or shared it."""
        return _flock(descriptor, fcntl.LOCK_EX)

    def share_file(descriptor: int) -> bool:
        """Share the lock of an open file, unless another process has locked it."""
        return _flock(descriptor, fcntl.LOCK_SH)

    def is_locked(descriptor: int) -> bool:
        """Whether a process has locked an open file. The lock is shared for a moment."""
        if not share_file(descriptor):
            return True
        unlock_file(descriptor)
        return False

    def is_shared(descriptor: int) -> bool:
        """Whether other processes that kept `lock_file` from its lock only share it."""
        return share_file(descriptor)

    def unlock_file(descriptor: int) -> None:
        """Unlock an open file, also where a forked child has a copy of it."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _flock(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True
