"""The snapshot in one file, wherever the file is: that of a run, a kept one, or a copy."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._found_runs import FoundRun, examined
from aiocheckpoint.handlers._options import make_codec
from aiocheckpoint.look._snapshots import view_with_state

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.look._records import RunView

__all__ = ["snapshot_in_file"]


def snapshot_in_file(path: str, *, secret: Secrets | None = None, values: bool = False) -> RunView:
    """Look at the snapshot in a file. Flow and run are those that its header names.

    Args:
        path: The file.
        secret: Secrets that the signature is checked with. Without, it is not checked.
        values: Whether the values of the keys are shown. Types, sizes and digests always are.

    Returns:
        The view, with `damage` where a digest or the signature is wrong. Owner and starts are not
        known of a file.

    Raises:
        CorruptSnapshotError, IncompatibleSnapshotError: The header cannot be read.
        StorageError: There is no regular file, or it cannot be read.
        InvalidTypeError, InvalidValueError: A secret is invalid.
    """
    file = open_regular(path)
    if file is None:
        raise StorageError(path, f"there is no file {path}.", errno=errno.ENOENT)
    with closing(file):
        header = Codec().open_stored(file, path).header
        size = file.seek(0, os.SEEK_END)
        found = examined(
            FoundRun(path, header.run_id, header.flow, size),
            lambda codec: codec.open_stored(file, path).header,
            None if secret is None else lambda flow: make_codec(flow, {"secret": secret}),
            None,
        )
        return view_with_state(found, file, keys=True, values=values)
