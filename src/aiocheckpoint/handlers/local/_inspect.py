"""Inspecting and signing a snapshot's file without its flow."""

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
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._identifiers import absolute_path, checked_path
from aiocheckpoint.handlers.local._handler import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secret

__all__ = ["adopt", "inspect"]


def inspect(path: str | os.PathLike[str]) -> Header:
    """Read the header of a snapshot's file without executing anything in it.

    The file is checked against its digests, not against a signature: `Header.signed_by` names
    the secret that the file claims. For a bare pickle, as gumly writes it, the header holds the
    position and the sizes.

    Args:
        path: The file. For a run with an id, `cp.handler.locate(run_id)`.

    Returns:
        The header, with `sizes`: bytes by key of the state.

    Raises:
        StorageError: There is no file, or it cannot be read, or is a directory, FIFO or device. Or
            `path` is relative, and the working directory was deleted.
        CorruptSnapshotError: The file is empty, damaged, or no snapshot.
        IncompatibleSnapshotError: Its format is of a later version.
        InvalidTypeError: `path` is no path.
    """
    location = absolute_path(checked_path(path))
    file = open_regular(location)
    if file is None:
        raise _nothing_at(location)
    with closing(file):
        stored = Codec().open(file, location)
        if stored is None:
            raise CorruptSnapshotError(location, "it is empty, so nothing is stored in it")
        stored.checked_payload()
        return replace(stored.header, sizes=stored.sizes())


def adopt(
    path: str | os.PathLike[str],
    *,
    secret: Secret | Sequence[Secret],
    flow: str | None = None,
    run_id: str | None = None,
) -> Header:
    """Sign a stored snapshot as it is, because you know its origin.

    Use it for files written by gumly, without a secret, with a lost secret, or for a flow that
    had another name. Nothing in the file is executed. From then on the file is trusted, with all
    globals that it names.

    Args:
        path: The path as it is given to `CheckpointFlow`.
        secret: The secret to sign with, the first of several.
        flow: The flow's name, by default the file name without its ending.
        run_id: The run, or None.

    Returns:
        The header now stored.

    Raises:
        StorageError: There is no file, or it cannot be read or written. Or `path` is relative,
            and the working directory was deleted.
        CorruptSnapshotError: The snapshot is damaged, or that of another run.
        IncompatibleSnapshotError: Its format is of a later version.
        RunInProgressError: The run is in progress.
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    signing = LocalStateHandler(path, flow=flow, secret=secret)
    if not os.path.exists(signing.locate(run_id)):
        raise _nothing_at(signing.locate(run_id))
    with (
        signing.locked(run_id) as lock,
        LocalStateHandler(path, flow="").stored(run_id) as snapshot,  # of any flow
    ):
        if snapshot is None:
            raise _nothing_at(signing.locate(run_id))
        snapshot.checked_payload()
        header = replace(
            snapshot.header,
            flow=signing.flow,
            run_id=run_id,
            sequence=snapshot.header.sequence + 1,
            library=__version__,
            signed_by=None,
        )
        write_to = partial(signing.codec.copy, header, snapshot)
        written, _ = signing.replace(run_id, write_to, lock=lock)
        return replace(written, signed_by=signing.key_ids[0])


def _nothing_at(path: str) -> StorageError:
    return StorageError(
        path,
        f"nothing is stored in {path}. Is it the path that the flow was given? A run with an id "
        "has a file of its own, at cp.handler.locate(run_id).",
        errno=errno.ENOENT,
    )
