"""Rows of a damaged database, one by one, by the indexes that can still be read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.sqlite._stored_rows import StoredRow, rows_of
from aiocheckpoint.handlers.sqlite._text import stored_text

if TYPE_CHECKING:
    from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase

__all__ = ["LostRow", "keys_of_rows", "salvaged"]

_INDEXES = {"runs_by_start": "started_at", "sqlite_autoindex_runs_1": "run_id"}
"""Each has the flow and the id of all runs, and an order."""

_KEYS = (
    "SELECT id, CAST(flow AS BLOB), CAST(run_id AS BLOB) FROM runs INDEXED BY {} "
    "WHERE flow > '' AND (? IS NULL OR flow = ?) ORDER BY flow DESC, {} DESC"
)


class LostRow(NamedTuple):
    """A row of which an index alone was read.

    Attributes:
        id: Id of the row.
        flow, stored_id: As in a `StoredRow`.
    """

    id: int
    flow: bytes
    stored_id: bytes

    @property
    def names(self) -> tuple[str, str | None]:
        """The flow, and the run or None."""
        return stored_text(self.flow), stored_text(self.stored_id) or None


def salvaged(database: ReadOnlyDatabase, key: LostRow) -> StoredRow | LostRow | None:
    """Read a row of a damaged database. None where it has no snapshot.

    Raises:
        StorageError: It cannot be read for another reason.
    """
    try:
        return next(iter(database.read(partial(rows_of, ids=(key.id,)))), None)
    except StorageError as error:
        if not error.damaged:
            raise
        return key


def keys_of_rows(database: ReadOnlyDatabase, flow: str | bytes | None) -> list[LostRow]:
    """Find all rows of a damaged database by an index, if it can be those that began last first.

    Args:
        database: The database.
        flow: The flow as the table has it. None for all.

    Raises:
        StorageError: None of its indexes can be read.
    """
    damage: StorageError | None = None
    for index, order in _INDEXES.items():
        try:
            return [
                LostRow(*row) for row in database.rows(_KEYS.format(index, order), (flow, flow))
            ]
        except StorageError as error:
            damage = error
    if damage is None:
        return []
    raise damage
