"""Where the files of a store are, for looks at the files themselves."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

from aiocheckpoint.handlers._urls import absolute_path
from aiocheckpoint.handlers.local._paths import RunPaths
from aiocheckpoint.handlers.local._reader import LocalReader
from aiocheckpoint.look._changes import files_of_database, files_of_directory, files_of_run

if TYPE_CHECKING:
    from aiocheckpoint.handlers.postgres._health import ServerFacts
    from aiocheckpoint.look._store import Store

__all__ = ["StorePlace", "place_of", "server_of"]

_SQLITE = "aiocheckpoint.handlers.sqlite"
_POSTGRES = "aiocheckpoint.handlers.postgres"

PlaceKind = Literal["database", "directory", "file", "elsewhere"]


class StorePlace(NamedTuple):
    """The place of a store.

    Attributes:
        kind: "database" for one file with many runs. "directory" for a directory with a file for
            each run. "file" for a file with one run, and files of others beside it. "elsewhere"
            for a store that has no files.
        path: The absolute path. Empty for a store that has no files.
    """

    kind: PlaceKind
    path: str

    def files(self, of_run: str | None = None) -> tuple[str, ...] | None:
        """The files whose times and lengths change with the store. None where there are none.

        Args:
            of_run: The file of a run, as `RunView.location` has it, to name those of it alone.
        """
        if self.kind == "elsewhere":
            return None
        if self.kind == "database":
            return files_of_database(self.path)
        if of_run is not None:
            return files_of_run(of_run)
        return files_of_directory(self.path, directory=self.kind == "directory")

    @property
    def directory(self) -> str:
        """The directory of the store's files."""
        return self.path if self.kind == "directory" else os.path.dirname(self.path)

    @property
    def run_paths(self) -> RunPaths:
        """The files of runs, in a directory or beside a file."""
        return RunPaths(self.path, directory=self.kind == "directory")


def place_of(store: Store) -> StorePlace:
    """Find the files of a store."""
    # Looks at files are nothing that a store offers to users.
    reader = store._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if isinstance(reader, LocalReader):
        paths = reader.paths
        if paths.is_directory:
            return StorePlace("directory", paths.directory)
        return StorePlace("file", paths.path(None))
    handler = reader.handler
    if _SQLITE in sys.modules:  # Else no handler is of its class.
        from aiocheckpoint.handlers.sqlite import SqliteStateHandler  # noqa: PLC0415
        from aiocheckpoint.handlers.sqlite._file_url import file_of  # noqa: PLC0415

        if isinstance(handler, SqliteStateHandler) and handler.path is not None:
            file = file_of(os.fspath(handler.path))
            return StorePlace("database", os.path.realpath(absolute_path(file)))
    return StorePlace("elsewhere", "")


def server_of(store: Store) -> ServerFacts | None:
    """Ask the server of a store about itself. None where the store has none.

    Raises:
        StorageError: The store cannot be read.
    """
    reader = store._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if _POSTGRES in sys.modules:  # Else no reader is of its class.
        from aiocheckpoint.handlers.postgres._health import server_facts  # noqa: PLC0415
        from aiocheckpoint.handlers.postgres._reader import PostgresReader  # noqa: PLC0415

        if isinstance(reader, PostgresReader):
            return server_facts(reader.database)
    return None
