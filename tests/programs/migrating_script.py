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
    from collections.abc import Iterator


def statements() -> Iterator[str]:
    """Be a migration that kills the process in the middle."""
    yield "ALTER TABLE runs ADD COLUMN colour TEXT"
    yield "UPDATE runs SET colour = 'red', status = 'failed'"
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Carry out the arguments."""
    operation, path = sys.argv[1:3]
    if operation == "die":
        _schema.MIGRATIONS = (*_schema.MIGRATIONS, statements())  # type: ignore[arg-type] # pyright: ignore[reportAttributeAccessIssue]
        _connection.OpenDatabase(path, durable=True)
        return
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    SqliteStateHandler(path).write({"who": sys.argv[3]}, sys.argv[3])


if __name__ == "__main__":
    main()
