"""Whether a file without a sound footer was written by this library, by gumly, or by somebody else.

A checkpoint's path may be that of a user's own file by mistake. Such a file is refused, and
nothing overwrites or deletes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.footer import MAGIC
from aiocheckpoint._snapshot.keys import POSITION_KEY
from aiocheckpoint.errors import CorruptSnapshotError, ForeignFileError

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["bears_marks", "refuse_pickle", "without_reset"]

_PIECE_BYTES = 1 << 20
_PICKLE_START = b"\x80"
_POSITION = re.compile(
    rb"(?:\x8c\x10|X\x10\x00\x00\x00)"
    + re.escape(POSITION_KEY.encode())
    + rb"(?:\x94|q.|r....)?(?:K.|M..|J...[\x00-\x7f])",
    re.DOTALL,
)
"""The key of the position with an index, as protocols from 2 on write a dict's item."""


def bears_marks(file: BinaryIO, size: int, *, is_broken: bool) -> bool:
    """Whether a damaged file has bytes of this library in it, or no content at all.

    The magic at its end is enough, and so is a pickle with the magic in it. A file of zeros is what
    a power cut leaves of a file that was not flushed. Of a large file, only both ends are read.

    Args:
        file: The file.
        size: Its length.
        is_broken: Whether its pickle cannot be read to the end. Then the position in it is a mark.
    """
    file.seek(0)
    start = file.read(_PIECE_BYTES)
    file.seek(max(0, size - _PIECE_BYTES))
    end = file.read(_PIECE_BYTES)
    if end.endswith(MAGIC):
        return True
    if start.startswith(_PICKLE_START):
        return any(
            MAGIC in piece or (is_broken and _POSITION.search(piece)) for piece in (start, end)
        )
    return size <= 2 * _PIECE_BYTES and not (start + end).strip(b"\0")


def without_reset(error: CorruptSnapshotError) -> CorruptSnapshotError:
    """The same error for a file of unknown origin, whose remedy deletes nothing."""
    return CorruptSnapshotError(error.path, error.reason, of_unknown_origin=True)


def refuse_pickle(location: str, *, is_dict: bool) -> ForeignFileError:
    """The error for a whole pickle that is no snapshot."""
    if is_dict:
        return ForeignFileError(
            location,
            f"it is a pickled dict without the position that a checkpoint has ({POSITION_KEY!r})",
            remedy=f"If it is the state to begin with, aiocheckpoint.adopt({location!r}) takes it.",
        )
    return ForeignFileError(location, "it is a pickle of something else than a state's dict")
