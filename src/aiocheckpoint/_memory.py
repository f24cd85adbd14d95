"""A snapshot, or part of one, that is written to memory."""

from __future__ import annotations

import io

__all__ = ["Memory"]


class Memory(io.BytesIO):
    """Takes the bytes of a snapshot as a file would."""

    def rewind(self) -> None:
        """Forget all that was written."""
        self.seek(0)
        self.truncate()

    def read_back(self) -> io.BytesIO:
        """Give what was written, as a file of its own."""
        return io.BytesIO(self.getvalue())
