"""The payload of a snapshot: a pickle stream whose dict has the position added to it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._snapshot.target import PickleSink

__all__ = ["PIECE_BYTES", "PayloadWriter", "is_payload", "position_added"]


PIECE_BYTES = 1 << 18
"""The size of the pieces in which a large payload is written and read."""

_VERY_LARGE_BYTES = 1 << 19
_DIGESTS = DaemonThreads("aiocheckpoint-digest", 1)

_ADDED = re.compile(rb"\(\x8c\x10checkpoint_indexJ....u\.\Z", re.DOTALL)


def is_payload(end: bytes) -> bool:
    """Whether a pickle stream with this end was written here: picklers write no such end."""
    return _ADDED.search(end) is not None


def position_added(position: int) -> bytes:
    """The bytes that replace the last byte of a pickle stream, so that its dict has the position.

    A MARK replaces the STOP opcode, the last byte of the last frame. Both have the same length, so
    that frames keep theirs. Key, value, SETITEMS and STOP follow.
    """
    return b"(\x8c\x10checkpoint_indexJ%bu." % position.to_bytes(4, "little")


class PayloadWriter:
    """Passes a pickle stream on in large pieces, hashing it, and holds its last byte back.

    The C pickler calls `write` once per 64 KiB or once per large bytes object, dill's for every
    few bytes. A buffer collects them. Very large pieces, such as arrays, are hashed in another
    thread while the target writes them: both take about the same time.
    """

    def __init__(self, target: PickleSink) -> None:
        self._target = target
        self._reset()

    def _reset(self) -> None:
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._flushed = 0

    def rewind(self) -> None:
        """Forget all that was written, here and in the target."""
        self._reset()
        self._target.rewind()

    def write(self, chunk: Buffer, /) -> None:
        """Take the next bytes of the stream."""
        view = memoryview(chunk)
        if view.nbytes >= PIECE_BYTES:
            self._flush(len(self._buffer))
            self._pass_on(view)
            return
        self._buffer += view
        if len(self._buffer) >= PIECE_BYTES:
            # A large object is never the end of a stream, so the buffer holds its last byte.
            self._flush(len(self._buffer) - 1)

    def finish(self, position: int | None) -> tuple[int, bytes]:
        """Add the position, unless it is None, to the dict that the stream leaves on the stack.

        Returns:
            Length and SHA-256 of the whole payload.
        """
        if position is not None:
            self._buffer[-1:] = position_added(position)
        self._hash.update(self._buffer)
        return self._flushed + len(self._buffer), self._hash.digest()

    def flush_with(self, footer: bytes) -> None:
        """Pass on the rest of the buffer and the footer in one piece."""
        self._target.write(self._buffer + footer)

    def _flush(self, length: int) -> None:
        with memoryview(self._buffer) as whole, whole[:length] as part:
            self._pass_on(part)
        del self._buffer[:length]

    def _pass_on(self, view: memoryview) -> None:
        if view.nbytes < _VERY_LARGE_BYTES:
            self._hash.update(view)
            self._target.write(view)
        else:
            self._pass_on_beside(view)
        self._flushed += view.nbytes

    def _pass_on_beside(self, view: memoryview) -> None:
        hashing = WorkItem(self._hash.update, (view,), None)
        try:
            with contextlib.suppress(NoThreadError):
                _DIGESTS.put(hashing)
            self._target.write(view)
            if not hashing.drop():
                hashing.join()
        except BaseException:
            # The bytes belong to the user, who may change them now.
            if not hashing.drop():
                hashing.join()
            raise
        if hashing.drop():  # The thread was busy with other bytes, or has ended.
            self._hash.update(view)
        else:
            hashing.outcome()
