"""What is in a file of a run: its header, its run id, and whether it may be deleted."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    ForeignFileError,
    IncompatibleSnapshotError,
    StorageError,
)
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers.local._paths import FoundFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers.local._paths import RunPaths

__all__ = ["found_files", "header_at", "refuse_foreign", "run_id_at"]


def found_files(paths: RunPaths) -> FoundFiles:
    """Find the files of all runs, and the leftovers beside them.

    Raises:
        StorageError: The directory cannot be read.
    """
    try:
        return paths.found()
    except FileNotFoundError:
        return FoundFiles([], {})
    except OSError as error:
        raise StorageError.of(paths.path(None), "listing the directory of", error) from error


def header_at(handler: SnapshotPort, path: str) -> Header | None:
    """Read the header of the run whose file this is.

    None for an empty file, and, with a warning in the log, for one that cannot be read.
    """
    try:
        with contextlib.closing(open_regular(path) or io.BytesIO()) as file:
            found = handler.codec.open(file, path)
        if found is None:
            return None
        handler.check_run(found.header, _id_at(handler, path, found.header), path)
    except CheckpointError as error:
        log_left_out(error, RunPlace(handler.flow))
        return None
    return found.header


def run_id_at(handler: SnapshotPort, paths: RunPaths, path: str) -> str | None:
    """The run that a file is named for. Of a long id, only the header says it."""
    try:
        return paths.run_id_of(path)
    except ValueError:
        with contextlib.suppress(CheckpointError):
            with contextlib.closing(open_regular(path) or io.BytesIO()) as file:
                found = Codec().open(file, path)
            if found is not None:
                return _id_at(handler, path, found.header)
        return f"the one of {path}"


def refuse_foreign(
    handler: SnapshotPort, path: str, retained: Callable[[], list[tuple[int, int]]]
) -> None:
    """Check that a file may be deleted: it is a snapshot of this flow, or a damaged one.

    Args:
        handler: The handler of the flow.
        path: The file.
        retained: Lists the retained snapshots of the run. Where there are any, the file was ours.

    Raises:
        StorageError: It cannot be read, or is a SQLite database.
        CorruptSnapshotError: Nothing shows that this library wrote it, or it is another flow's.
    """
    with contextlib.closing(open_regular(path) or io.BytesIO()) as file:
        try:
            snapshot = Codec().open(file, path)
        except IncompatibleSnapshotError:
            return
        except CorruptSnapshotError as error:
            is_foreign = isinstance(error, ForeignFileError)
            if is_foreign or (error.of_unknown_origin and not retained()):
                raise
            return
    if snapshot is not None and snapshot.header.library:
        handler.check_run(snapshot.header, snapshot.header.run_id, path)


def _id_at(handler: SnapshotPort, path: str, header: Header) -> str | None:
    """The header's run id if it maps to this file, else a text that equals no id."""
    fits = path == handler.locate(header.run_id)
    return header.run_id if fits or not header.library else f"the one of {path}"
