"""The protocol of the lock of one run, and its `with` block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Lock", "holding"]


class Lock(Protocol):
    """An exclusive lock of one run, which ends with its owner.

    A lock that is a file has its path in an attribute `file`. `aiocheckpoint.testing.check_handler`
    deletes it, as a cleaner of old files may do. A lock that can tell has an attribute `inherited`:
    whether its last owner was killed. The starts of a run that ended so are counted by it.

    Attributes:
        held: Whether the lock was taken and not released. It may have been lost since.
    """

    @property
    def held(self) -> bool:
        """See above."""
        ...

    def acquire(self) -> None:
        """Take the lock now, or raise RunInProgressError."""

    def release(self) -> None:
        """Release the lock, without effect where it is not held."""


@contextmanager
def holding(lock: Lock) -> Generator[Lock, None, None]:
    """Hold a lock for the time of a `with` block, which gives the lock.

    Raises:
        RunInProgressError: Another owner has it.
        StorageError: It cannot be taken.
    """
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()
