"""The targets of a snapshot's bytes: a file of a handler, or memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

from aiocheckpoint._snapshot.footer import payload_length

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["MemoryTarget", "PickleSink", "SnapshotTarget"]


class PickleSink(Protocol):
    """Takes a pickle stream: bytes in order, from the start again after `rewind`."""

    def write(self, chunk: Buffer, /) -> object:
        """Take the next bytes."""

    def rewind(self) -> None:
        """Forget all bytes so far."""


class SnapshotTarget(PickleSink, Protocol):
    """Takes the bytes of a snapshot."""

    def read_back(self) -> BinaryIO:
        """Open the bytes so far for reading. The caller closes it."""
        ...


class MemoryTarget(io.BytesIO):
    """Takes the bytes of a snapshot in memory."""

    def rewind(self) -> None:
        """Forget all bytes so far."""
        self.seek(0)
        self.truncate()

    def read_back(self) -> io.BytesIO:
        """Give the bytes so far, as a file of its own."""
        return io.BytesIO(self.getvalue())

    def split(self) -> tuple[bytes, bytes]:
        """Cut a whole snapshot into its payload and its footer. The payload is not copied."""
        with self.getbuffer() as snapshot:
            length = payload_length(snapshot)
            footer = bytes(snapshot[length:])
        self.truncate(length)
        return self.getvalue(), footer
