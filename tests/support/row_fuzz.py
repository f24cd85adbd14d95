"""Databases with odd rows and odd tables, and every public call on them."""

# ruff: noqa: S608 - constants alone

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from run_factories import UNFINISHED

from aiocheckpoint import CheckpointError, CheckpointFlow, CorruptSnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD, GOOD, DONE = "odd", "good", "done"
"""The run whose rows are changed, and two that have to stay usable."""
_OWNER = "0123456789abcdef"


class Literal(NamedTuple):
    """A value written in SQL, which Python cannot bind."""

    text: str


VALUES: tuple[object, ...] = (
    *("", " ", ",", "text", "a b,c d", "0 1 2 3 4 5 6,0 1 2 3 4 5 6", "x" * 5_000, "nan"),
    *(0, -1, 7, 2**63 - 1, -(2**63), 0.5, 1e308, -1e308, float("inf"), -float("inf")),
    *(b"", b"\xff\xfe", b"\xed\xa0\x80", b"a b,c", bytes(20)),
    Literal("NULL"),
    Literal("CAST(x'6120ff2c' AS TEXT)"),  # no UTF-8
    Literal("'a' || char(0) || 'b'"),
    Literal(f"'{_OWNER}' || char(0)"),
)
_COLUMNS = {
    "runs": (
        *("id", "flow", "run_id", "owner", "token", "claimed_at", "status", "number", "sequence"),
        *("position", "step", "started_at", "written_at", "footer", "payload"),
    ),
    "owners": ("id", "host", "boot", "pid", "since", "beat", "expires", "lease"),
    "kept": ("run", "number", "sequence", "footer", "payload"),
}
COLUMNS = [(table, column) for table, columns in _COLUMNS.items() for column in columns]
_ROWS = {
    "runs": f"run_id = '{ODD}'",
    "owners": f"id = '{_OWNER}'",
    "kept": f"run = (SELECT id FROM runs WHERE run_id = '{ODD}')",
}

NEIGHBOURS = {
    "columns of a later release": [
        f"ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT 'x'"
        for table in ("runs", "owners")
    ],
    "no indexes": [f"DROP INDEX runs_{name}" for name in ("by_start", "unfinished", "by_owner")],
}
"""Changes of the tables with which every call works."""
_MOVED = "ALTER TABLE {0} RENAME TO moved_{0}"
SCHEMAS = {
    **{f"no {table}": [f"DROP TABLE {table}"] for table in _COLUMNS},
    **{
        f"{table} without {column}": [f"ALTER TABLE {table} RENAME COLUMN {column} TO other"]
        for table, column in COLUMNS
    },
    **{
        f"view {table}": [
            _MOVED.format(table),
            f"CREATE VIEW {table} AS SELECT * FROM moved_{table}",
        ]
        for table in _COLUMNS
    },
    **{
        f"plain {table}": [_MOVED.format(table), f"CREATE TABLE {table} ({', '.join(columns)})"]
        for table, columns in _COLUMNS.items()
    },
    **{
        f"untyped {table}": [
            _MOVED.format(table),
            f"CREATE TABLE {table} AS SELECT * FROM moved_{table}",
        ]
        for table in _COLUMNS
    },
    **{
        f"{does} {when} {table}": [
            f"CREATE TRIGGER hostile {when} ON {table} BEGIN SELECT {does}; END"
        ]
        for table in ("runs", "owners")
        for when in ("BEFORE UPDATE", "BEFORE INSERT", "BEFORE DELETE", "AFTER UPDATE")
        for does in ("RAISE(IGNORE)", "RAISE(ABORT, 'no')", "RAISE(ROLLBACK, 'no')", "no_such()")
    },
    "rows that vanish": [
        "CREATE TRIGGER hostile AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
    ],
    "rows that change": [
        "CREATE TRIGGER hostile AFTER UPDATE ON runs BEGIN UPDATE runs SET token = 'x y,z'; END",
    ],
    "version below": ["PRAGMA user_version = -1"],
    "version above": ["PRAGMA user_version = 2147483647"],
    "another program's": ["PRAGMA application_id = 7"],
}


def make_flow(path: Path) -> CheckpointFlow:
    """Make a flow of three steps that keeps older snapshots."""
    cp = CheckpointFlow(path, "sqlite", fsync=False, keep=3, name="f")
    for name in ("a", "b", "c"):
        cp.add_step(name=name)(lambda state: None)
    return cp


def make_database(path: Path) -> None:
    """Store a finished run and two stopped ones, one of them with an owner that is gone."""
    cp = make_flow(path)
    for run_id in (GOOD, ODD):
        cp.run({"n": 1}, run_id=run_id, until="c")
    cp.run({"n": 1}, run_id=DONE)
    cp.handler.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE runs SET owner = ?, token = 5 WHERE run_id = ?", (_OWNER, ODD))
        connection.execute(
            "INSERT INTO owners (id, host, boot, pid, since, beat, expires, lease) "
            "SELECT ?, 'far-away', 'other', 7, '', 1, 0, 30",
            (_OWNER,),
        )


def change_value(path: Path, table: str, column: str, value: object) -> None:
    """Set a column of the odd run's rows. The tables lose their NOT NULL for that."""
    word = value.text if isinstance(value, Literal) else "?"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'"
        )
    # SQLite itself refuses ids of rows that are no integers.
    with closing(sqlite3.connect(path)) as connection, connection, suppress(sqlite3.IntegrityError):
        connection.execute(
            f"UPDATE OR IGNORE {table} SET {column} = {word} WHERE {_ROWS[table]}",
            () if isinstance(value, Literal) else (value,),
        )


def change_schema(path: Path, statements: list[str]) -> None:
    """Change the tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA legacy_alter_table = ON")
        for statement in statements:
            connection.execute(statement)


@dataclass
class Calls:
    """Every public call on one database, and the errors that are none of the library's.

    Attributes:
        path: The database.
        faults: The calls that failed otherwise, with their errors.
        failed: The names of the calls that failed with a documented error.
    """

    path: Path
    faults: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make the flow."""
        self.cp = make_flow(self.path)

    def check(self, run_id: str) -> None:
        """Call everything for a run. The calls that change or delete it come last."""
        cp = self.cp
        self._do("runs", cp.runs)
        for status in ("finished", "stopped", "running", "failed"):
            self._do(f"runs {status}", partial(cp.runs, status=status))
        self._do("pages", self._pages)
        self._do("header", lambda: cp.header(run_id))
        self._do("read", lambda: cp.read(run_id))
        self._do("plan", lambda: str(cp.plan(run_id=run_id)))
        self._do("kept", lambda: cp.handler.kept(run_id))
        self._do("once", lambda: cp.run(run_id=run_id, once=True, until="b"))
        self._do("resume_all", lambda: asyncio.run(self._resume_all()))
        self._do("run", lambda: cp.run(run_id=run_id, checkpoint="b", until="c"))
        self._do("arun", lambda: asyncio.run(cp.arun(run_id=run_id)))
        self._do("patch", lambda: cp.patch({"m": 1}, "b", run_id=run_id))
        self._do("write", lambda: cp.handler.write({"n": 2}, run_id))
        self._do("reset", lambda: cp.reset(run_id=run_id))
        self._do("new", lambda: cp.run({"n": 3}, run_id=run_id))
        self._do("delete", lambda: cp.delete(run_id))
        self._do("prune", lambda: cp.prune(timedelta(0)))

    def check_good_ones(self) -> None:
        """Check that the other runs are listed, read and resumed."""
        cp = self.cp
        assert {GOOD, DONE} <= {header.run_id for header in cp.runs()}
        assert cp.read(DONE)["n"] == 1
        assert cp.header(GOOD) is not None
        assert cp.run(run_id=GOOD, until="c") == {"n": 1}
        assert cp.run({"n": 5}, run_id="new") == {"n": 5}
        assert cp.delete("new")
        assert cp.prune(timedelta(1)) == 0

    def close(self) -> None:
        """Close the database."""
        self._do("close", self.cp.handler.close)

    def _pages(self) -> None:
        page = self.cp.runs(limit=1)
        for _ in range(5):
            if page:
                page = self.cp.runs(limit=1, after=page[-1])
        assert not page

    async def _resume_all(self) -> None:
        async for result in self.cp.aresume_all(status=UNFINISHED):
            if result.error is not None:
                raise result.error

    def _do(self, name: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except CheckpointError as error:
            self.failed.add(name)
            if str(self.path) not in str(error):
                self.faults.append(f"{name}: without the path: {error!r}")
            elif isinstance(error, CorruptSnapshotError) and not error.reason:
                self.faults.append(f"{name}: without a reason: {error!r}")
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            self.faults.append(f"{name}: {error!r}")
