"""The place of a database."""

from __future__ import annotations

from typing import ClassVar

from aiocheckpoint.handlers.leased._store import StorePlace
from aiocheckpoint.handlers.sqlite._text import sql_text

__all__ = ["SqlitePlace"]


class SqlitePlace(StorePlace):
    """A database file.

    Args:
        path: Its absolute path.
    """

    kind: ClassVar[str] = "SQLite"
    largest_payload: ClassVar[int] = 900_000_000
    """SQLite takes values of up to 1,000,000,000 bytes (https://www.sqlite.org/limits.html)."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def location(self) -> str:
        return self._path

    def text(self, text: str) -> str | bytes:
        return sql_text(text)
