"""The reader of a database: on connections for reading alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._index_reader import IndexReader
from aiocheckpoint.handlers.sqlite._index_rows import SqliteRows
from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["SqliteReader"]


class SqliteReader(IndexReader):
    """Reads a database. Each list has a connection of its own, which is closed at its end.

    Args:
        handler: The handler of the database.
        path: The absolute path.
        secret: As for `StoreReader`.
    """

    def __init__(self, handler: WholeStorePort, path: str, secret: Secrets | None = None) -> None:
        super().__init__(handler, secret)
        self._path = path

    @property
    def place(self) -> str:
        """The absolute path."""
        return self._path

    @property
    def is_there(self) -> bool:
        """Whether the file is there."""
        return file_identity(self._path) is not None

    def exists(self) -> bool:
        """Whether the file is there. It is opened, and its tables are looked at."""
        if not self.is_there:
            return False
        with ReadOnlyDatabase(self._path):
            return True

    @contextmanager
    def rows(self) -> Generator[SqliteRows, None, None]:
        """Open the rows for the time of a `with` block."""
        with ReadOnlyDatabase(self._path) as database:
            yield SqliteRows(database, OwnerLooks(self._path))
