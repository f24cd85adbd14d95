"""The reader of files: of one run each, beside a file or in a directory."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, TypeGuard

from aiocheckpoint._model.start_record import Ownership
from aiocheckpoint.errors import CheckpointError, CorruptSnapshotError, ForeignFileError
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._found_runs import FoundRun
from aiocheckpoint.handlers._reader import StoreReader
from aiocheckpoint.handlers.local._history import RetainedSnapshots
from aiocheckpoint.handlers.local._paths import path_of_flow
from aiocheckpoint.handlers.local._progress_file import path_of_progress, read_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._whole_store import WholeStorePort
    from aiocheckpoint.handlers.local._paths import RunPaths

__all__ = ["LocalReader"]

_SUFFIX = ".pkl"


class LocalReader(StoreReader):
    """Reads files of runs.

    A directory may also hold the files of flows that were given a file each, such as "a.pkl" and
    "b.pkl". Their runs are found as well.

    Args:
        handler: The handler of the files.
        paths: Its paths.
        known_at: Gives what is known of the run of a path beside its snapshot.
        secret: As for `StoreReader`.

    Attributes:
        paths: The same.
    """

    def __init__(
        self,
        handler: WholeStorePort,
        paths: RunPaths,
        known_at: Callable[[str, str | None], Ownership],
        secret: Secrets | None = None,
    ) -> None:
        super().__init__(handler, secret)
        self.paths: RunPaths = paths
        self._known_at = known_at

    def exists(self) -> bool:
        """Whether the directory is there, or a file of a run.

        Raises:
            CorruptSnapshotError: The file at the path is none that this library has written.
        """
        if self.paths.is_directory:
            return self.handler.exists()
        own = next(self.find("", None), None)
        if own is not None and own.size and _is_of_others(own.error):
            raise own.error
        return own is not None or next(self.all_found(), None) is not None

    def all_found(self) -> Iterator[FoundRun]:
        """Find the runs of a directory, and those of flows with files of their own there."""
        for run in super().all_found():
            yield self._of_own_flow(run) or run
        for path in self._other_files():
            bare = FoundRun(path, None, "", key=path)
            found = self.examine(bare, partial(open_regular, path), Ownership())
            own = None if found is None else self._of_own_flow(found)
            if own is not None:
                yield own

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run by the name of its file. Else look into all files of a directory."""
        direct = [run for run in super().find(flow, run_id) if self._of_own_flow(run) is None]
        yield from direct
        if not direct and self.paths.is_directory:
            yield from (run for run in self.found(flow) if run.run_id == run_id)

    def again(self, run: FoundRun) -> FoundRun | None:
        """Find a run again by the path of its file."""
        known = self._known_at(run.location, run.run_id)
        bare = run._replace(error=None, verified=None)
        return self.examine(bare, partial(open_regular, run.location), known)

    def numbers_of_kept(self, run: FoundRun) -> list[tuple[int, int]]:
        """List those of the kept snapshots of a run, whatever `keep` the handler has."""
        return self._retained(run).entries()

    def progress_bytes(self, run: FoundRun) -> bytes | None:
        """Read the record of the progress of a run from the file beside the run's."""
        return read_progress(path_of_progress(str(run.key)))

    def open(self, run: FoundRun) -> BinaryIO | None:
        """Open the file of a run, or of a kept snapshot."""
        if run.kept is None:
            return open_regular(str(run.key))
        return open_regular(self._retained(run).path(*run.kept))

    def _retained(self, run: FoundRun) -> RetainedSnapshots:
        return RetainedSnapshots(os.path.realpath(str(run.key)), "all")

    def _other_files(self) -> Iterator[str]:
        """The files in a directory whose names look like those of runs of other flows."""
        if not self.paths.is_directory:
            return
        with suppress(OSError), os.scandir(self.paths.directory) as entries:
            known = {os.path.basename(path) for path in self.paths.found().paths}
            for entry in entries:
                name = entry.name
                if name.endswith(_SUFFIX) and name[0] != "." and name not in known:
                    yield entry.path

    def _of_own_flow(self, run: FoundRun) -> FoundRun | None:
        """The run of a flow that was given this file, or one beside it, instead of the directory.

        None for any other. A file whose name fits neither its flow nor its run was renamed.
        """
        header, path = run.header, run.location
        if not self.paths.is_directory or header is None or not header.library:
            return None
        own = path if header.run_id is None else path_of_flow(path, header.run_id)
        if own is None or own.endswith(os.sep) or PurePath(own).stem != header.flow:
            return None
        return self.again(run._replace(run_id=header.run_id, flow=""))


def _is_of_others(error: CheckpointError | None) -> TypeGuard[CorruptSnapshotError]:
    """Whether nothing shows that this library wrote a file."""
    if not isinstance(error, CorruptSnapshotError):
        return False
    return isinstance(error, ForeignFileError) or error.of_unknown_origin
