"""Finish runs in a database before and after the database's file was opened and closed here.

Arguments: the database, how it is opened ("inspect", "copy" or "other"), the number of runs. Prints
each finished run. Waits for a line in between, and kills itself at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys

from aiocheckpoint import CheckpointFlow, StorageError, inspect

path, how, number = sys.argv[1], sys.argv[2], int(sys.argv[3])


def look() -> None:
    """Open and close the database's file as a program may do."""
    if how == "copy":
        shutil.copyfile(path, f"{path}.copy")
    elif how == "other":
        # Another database of the user's own, which nothing of the library has opened.
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    else:
        with contextlib.suppress(StorageError):
            inspect(path)


cp = CheckpointFlow(path, "sqlite", name="f")
cp.add_step(name="a")(lambda state: None)
for moment in ("before", "after"):
    for count in range(number):
        cp.run({}, run_id=f"{moment}{count}")
        sys.stdout.write(f"{moment}{count}\n")
        sys.stdout.flush()
    if moment == "before":
        look()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
