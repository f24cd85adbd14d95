"""Databases with any number of runs, made quickly."""

from __future__ import annotations

import random
import sqlite3
from io import BytesIO
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.footer import pack_footer, read_footer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["fill", "run_ids"]

_PAGES = "PRAGMA cache_size = -400000"


def run_ids(count: int, seed: int) -> list[str]:
    """Give ids as random as from uuid4, in order."""
    numbers = random.Random(seed)  # noqa: S311 - the same ones every time
    return sorted(f"{numbers.getrandbits(128):032x}" for _ in range(count))


def fill(path: Path, template: str, count: int, *, seed: int = 0) -> None:
    """Copy the row of a run until there are `count` rows like it.

    Each copy has a run id of its own, in its column and in its header, and a matching footer. So
    it equals a row that the library would have written at the same moment.

    Args:
        path: The database, without active runs.
        template: The id of the run.
        count: How many rows like it there are afterwards.
        seed: For the ids of the copies. Each template of a database needs another one.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute("SELECT * FROM runs WHERE run_id = ?", (template,)).fetchone())
    connection.execute(_PAGES)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN IMMEDIATE")
    names = [name for name in row if name != "id"]
    statement = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - names of columns
    connection.executemany(statement, _copies(row, names, run_ids(count - 1, seed)))
    connection.execute("COMMIT")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # No measured run pays for it.
    connection.close()


def _copies(row: dict[str, Any], names: list[str], ids: list[str]) -> Iterator[list[Any]]:
    size = row["footer"]
    template = row["run_id"]
    footer = read_footer(BytesIO(size), len(row["payload"]) + len(size), template, None)
    assert footer is not None
    before, mark, after = footer.header.partition(f'"run_id":"{template}"'.encode())
    assert mark
    values = [row[name] for name in names]
    id_at, footer_at = names.index("run_id"), names.index("footer")
    for run_id in ids:
        header = before + f'"run_id":"{run_id}"'.encode() + after
        values[id_at] = run_id
        values[footer_at] = pack_footer(header, footer.payload_length, footer.payload_digest, None)
        yield values
