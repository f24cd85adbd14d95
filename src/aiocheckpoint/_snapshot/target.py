"""Where the bytes of a snapshot go: a file of a handler, or memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["MemoryTarget", "PickleSink", "SnapshotTarget"]


class PickleSink(Protocol):
    """Where a pickle stream goes: it takes bytes in order, and can be asked to start over."""

    def write(self, chunk: Buffer, /) -> object:
        """Take the next bytes."""

    def rewind(self) -> None:
        """Forget all that was written."""


class SnapshotTarget(PickleSink, Protocol):
    """Where the bytes of a snapshot go."""

    def read_back(self) -> BinaryIO:
        """Open what was written so far for reading; the caller closes it."""
        ...


class MemoryTarget(io.BytesIO):
    """Takes the bytes of a snapshot as a file would."""

    def rewind(self) -> None:
        """Forget all that was written."""
        self.seek(0)
        self.truncate()

    def read_back(self) -> io.BytesIO:
        """Give what was written, as a file of its own."""
        return io.BytesIO(self.getvalue())
