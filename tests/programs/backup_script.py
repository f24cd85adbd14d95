"""Copy a store, and be killed at the n-th file that is made or written for it.

python tests/programs/backup_script.py KIND STORE TARGET N
"""

from __future__ import annotations

import os
import signal
import sys

from aiocheckpoint import open_handler


def main() -> None:
    """Copy, and count the calls of the system that make, flush or rename."""
    kind, store, target, number = sys.argv[1:]
    left = int(number)

    def audit(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if event in {"open", "os.rename", "os.mkdir", "sqlite3.connect", "sqlite3.connect/handle"}:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    place = f"{store}/" if kind == "directory" else store
    handler = open_handler(place, "sqlite" if kind == "sqlite" else "local", name="runs")
    handler.count()
    sys.addaudithook(audit)
    handler.backup(target)


main()
