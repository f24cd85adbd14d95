"""Runs as they are found in a database that is read and not changed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._locations import format_location
from aiocheckpoint.handlers.sqlite._listing import OwnedRow, owned_columns
from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
from aiocheckpoint.handlers.sqlite._text import sql_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["found_snapshots"]

_AT_ONCE = 100
# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_FIND = (
    "SELECT runs.id, CAST(flow AS BLOB), CAST(run_id AS BLOB), {} "
    "FROM runs LEFT JOIN owners ON owners.id = runs.owner "
    "WHERE status IS NOT NULL AND runs.id > ? AND (? = '' OR flow = ?) "
    "AND (? IS NULL OR run_id = ?) ORDER BY runs.id LIMIT ?"
)
_SNAPSHOT = (
    "SELECT coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00') FROM runs "
    "WHERE id = ? AND status IS NOT NULL"
)


def found_snapshots(path: str, flow: str, run_id: str | bytes | None) -> Iterator[FoundSnapshot]:
    """Find the snapshots of runs, in the order of their rows.

    Args:
        path: The absolute path of the database.
        flow: The flow, or an empty text for all flows.
        run_id: The run as the table has it, or None for all runs.
    """
    if file_identity(path) is None:
        return
    looks = OwnerLooks(path)
    with ReadOnlyDatabase(path) as database:
        statement = _FIND.format(owned_columns(database.rows))
        last, key = -(1 << 63), sql_text(flow)
        while rows := database.rows(statement, (last, key, key, run_id, run_id, _AT_ONCE)):
            for row in rows:
                found = _Row(row[0], row[1], row[2], OwnedRow._make(row[3:]))
                yield _found(database, path, found, looks)
            last = rows[-1][0]


class _Row(NamedTuple):
    id: int
    flow: bytes
    run_id: bytes
    owned: OwnedRow


def _found(database: ReadOnlyDatabase, path: str, row: _Row, looks: OwnerLooks) -> FoundSnapshot:
    def opened() -> BinaryIO | None:
        found = database.rows(_SNAPSHOT, (row.id,))
        return io.BytesIO(b"%b%b" % found[0]) if found else None

    flow, run_id = _text(row.flow), _text(row.run_id) or None
    location = format_location(path, flow, run_id)
    return FoundSnapshot(location, run_id, flow, opened, row.owned.known(looks))


def _text(stored: bytes) -> str:
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")
