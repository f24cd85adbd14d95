"""Opens a database on command, as one of several processes, or is killed while it migrates it.

Usage: migrating_script.py open PATH NAME | migrating_script.py die PATH
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from aiocheckpoint.handlers.sqlite import SqliteStateHandler, _connection, _schema

if TYPE_CHECKING:
    import sqlite3

MIGRATION = (
    "ALTER TABLE runs ADD COLUMN colour TEXT",
    "UPDATE runs SET colour = 'red', status = 'failed'",
    "SELECT kill()",
)
execute_at_once = _schema._execute_at_once  # noqa: SLF001


def execute(connection: sqlite3.Connection, seen: int, statements: list[str]) -> None:
    """Execute statements, among them one that kills the process."""
    connection.create_function("kill", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    execute_at_once(connection, seen, statements)


def main() -> None:
    """Carry out the arguments."""
    operation, path = sys.argv[1:3]
    if operation == "die":
        _schema.MIGRATIONS = (*_schema.MIGRATIONS, MIGRATION)
        _schema._execute_at_once = execute  # noqa: SLF001
        _connection.OpenDatabase(path, durable=True)
        return
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    SqliteStateHandler(path).write({"who": sys.argv[3]}, sys.argv[3])


if __name__ == "__main__":
    main()
