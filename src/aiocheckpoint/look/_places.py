"""Where the files of a store are, for looks at the files themselves."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._urls import absolute_path
from aiocheckpoint.look._changes import files_of_database, files_of_directory, files_of_run

__all__ = ["StorePlace", "place_of"]

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


def place_of(place: str) -> StorePlace:
    """Find the files of a store.

    Args:
        place: Its path or URL, as `Store.place` has it.

    Raises:
        InvalidValueError: It is the URL of a database file that names none.
        StorageError: It is relative, and the working directory was deleted.
    """
    address = find_store(place, None, None)
    if address.handler == "sqlite" or address.path.startswith("sqlite:///"):
        from aiocheckpoint.handlers.sqlite._file_url import file_of  # noqa: PLC0415 - large

        return StorePlace("database", os.path.realpath(absolute_path(file_of(address.path))))
    if not address.is_file:
        return StorePlace("elsewhere", "")
    full = absolute_path(address.path)
    slashes = tuple(filter(None, (os.sep, os.altsep)))
    is_directory = os.path.isdir(full) or address.path.endswith(slashes)
    return StorePlace("directory" if is_directory else "file", full)
