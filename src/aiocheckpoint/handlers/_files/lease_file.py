"""The open lock file of a lease, which two threads use: one renews it, another one closes it.

A closed descriptor's number is the next opened file's. So a beat takes the descriptor out of its
place, writes, and puts it back. Nobody closes it meanwhile. No lock guards the place, because a
finalizer or signal handler may end the lease in the midst of anything.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.handlers._files.lease_owner import LeaseOwner

__all__ = ["LeaseFile", "overwrite"]


class LeaseFile:
    """The lock file of one ownership, from its taking to its end.

    Args:
        descriptor: The file, open for writing. It is closed by this object alone.
        owner: The owner in it.

    Attributes:
        owner: The owner, after its last beat.
    """

    def __init__(self, descriptor: int, owner: LeaseOwner) -> None:
        self.owner = owner
        self._descriptor = descriptor
        self._place = deque([descriptor])  # Its `pop` and `append` are one operation each.
        self._ended = False

    def beat(self) -> None:
        """Write the next beat, without effect after the end and during another beat."""
        try:
            descriptor = self._place.pop()
        except IndexError:
            return
        try:
            self.owner = self.owner.next()
            with suppress(OSError):
                overwrite(descriptor, self.owner)
        finally:
            self._place.append(descriptor)
            if self._ended:
                self.end()

    def empty(self) -> None:
        """Name no owner any more, without effect during a beat."""
        with suppress(IndexError, OSError):
            descriptor = self._place.pop()
            self._place.append(descriptor)
            os.ftruncate(descriptor, 0)

    def end(self) -> None:
        """Close the file now, or at the end of the beat under way."""
        self._ended = True
        with suppress(IndexError):
            self._place.pop()
            self.close()

    def close(self) -> None:
        """Close the file. Only its taker may, or a forked child, where no beat is under way."""
        with suppress(OSError):
            os.close(self._descriptor)


def overwrite(descriptor: int, owner: LeaseOwner) -> None:
    """Write the owner over the earlier content, of the same length, and flush it to the server."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, owner.encoded())
    os.fsync(descriptor)
