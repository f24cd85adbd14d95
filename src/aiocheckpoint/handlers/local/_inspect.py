"""What can be done with a snapshot's file apart from any flow."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._version import __version__
from aiocheckpoint.errors import CorruptSnapshotError, StorageError
from aiocheckpoint.handlers import LocalStateHandler
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._identifiers import check_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secret

__all__ = ["adopt", "inspect"]


def inspect(path: str | os.PathLike[str]) -> Header:
    """Tell what a snapshot's file says of itself, executing nothing of it, whatever it holds.

    The file is checked against its digests, not against a signature: `Header.signed_by` names
    the secret that it claims to be signed with. Of a bare pickle, as gumly writes it, the position
    and the sizes are known.

    Args:
        path: The file; of a run with an id, `cp.handler.locate(run_id)`.

    Returns:
        The header, with `sizes`: bytes by key of the state.

    Raises:
        StorageError: There is no file, or it cannot be read, or is a directory, FIFO or device.
        CorruptSnapshotError: It is empty, damaged, or no snapshot.
        IncompatibleSnapshotError: Its format is of a later version.
        InvalidTypeError: `path` is no path.
    """
    location = os.path.abspath(os.path.expanduser(check_path(path)))
    file = open_regular(location)
    if file is None:
        raise _nothing_at(location)
    with closing(file):
        stored = Codec().open(file, location)
        if stored is None:
            raise CorruptSnapshotError(location, "it is empty, so nothing is stored in it")
        stored.check()
        return replace(stored.header, sizes=stored.sizes())


def adopt(
    path: str | os.PathLike[str],
    *,
    secret: Secret | Sequence[Secret],
    flow: str | None = None,
    run_id: str | None = None,
) -> Header:
    """Sign a snapshot that is there, as it is, because you know where it comes from.

    For files that were written by gumly, without a secret, with one that is lost, or for a flow
    that had another name. Nothing of the file is executed; whatever it names is trusted from now
    on.

    Args:
        path: The path as it is given to `CheckpointFlow`.
        secret: The secret to sign with; of several, the first.
        flow: The flow's name, by default the file name without its ending.
        run_id: The run, or None.

    Returns:
        The header as it is stored now.

    Raises:
        StorageError: There is no file, or it cannot be read or written.
        CorruptSnapshotError: It is damaged, or that of another run.
        IncompatibleSnapshotError: Its format is of a later version.
        RunInProgressError: The run is under way.
        InvalidTypeError, InvalidValueError: An argument cannot be meant.
    """
    signing = LocalStateHandler(path, flow=flow, secret=secret)
    if not os.path.exists(signing.locate(run_id)):
        raise _nothing_at(signing.locate(run_id))
    with signing.locked(run_id) as lock, LocalStateHandler(path, flow=flow).stored(run_id) as found:
        if found is None:
            raise _nothing_at(signing.locate(run_id))
        found.check()
        header = replace(
            found.header,
            flow=signing.flow,
            run_id=run_id,
            sequence=found.header.sequence + 1,
            library=__version__,
            signed_by=None,
        )
        emit = partial(signing.codec.copy, header, found)
        written, _ = signing.replace(run_id, emit, lock=lock)
        return replace(written, signed_by=signing.key_ids[0])


def _nothing_at(path: str) -> StorageError:
    return StorageError(
        path,
        f"nothing is stored in {path}. Is it the path that the flow was given? A run with an id "
        "has a file of its own, at cp.handler.locate(run_id).",
        errno=errno.ENOENT,
    )
