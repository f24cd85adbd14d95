"""The conformance checks in groups, and faults of the stores of this library."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from aiocheckpoint.testing import HANDLER_CHECKS, Faults
from aiocheckpoint.testing._checks_outages import OUTAGE_CHECKS
from aiocheckpoint.testing._checks_processes import PROCESS_CHECKS

if TYPE_CHECKING:
    from aiocheckpoint import LocalStateHandler

CHECKS = {check.__name__.removeprefix("check_"): check for check in HANDLER_CHECKS}
"""The checks by their names."""

OF_FAULTS = [
    *(CHECKS[name] for name in ("stolen_lease", "stolen_run", "rows_left", "paused_owner")),
    *OUTAGE_CHECKS,
]
"""The checks that need faults."""

LONG = [CHECKS["many_at_once"], *PROCESS_CHECKS]
"""The checks that take long or start processes."""

SHORT = [check for check in HANDLER_CHECKS if check not in {*LONG, *OF_FAULTS}]
"""All other checks."""


_ROWS = """
SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM kept) + (SELECT count(*) FROM progress)
"""


class FolderFaults(Faults):
    """Faults of a directory of runs.

    Args:
        handler: Any handler of it.
    """

    def __init__(self, handler: LocalStateHandler) -> None:
        """See above."""
        self._handler = handler

    def steal(self, run_id: str | None) -> None:
        """Delete the lock file of a run, as a cleaner of old files may do."""
        Path(self._handler.lock(run_id).file).unlink()

    def rows(self) -> int:
        """Count the files."""
        folder = Path(self._handler.locate("any")).parent
        return sum(path.is_file() for path in folder.rglob("*"))


class DatabaseFaults(Faults):
    """Faults of a SQLite database.

    Args:
        path: Its path.
    """

    def __init__(self, path: Path) -> None:
        """See above."""
        self._path = path

    def steal(self, run_id: str | None) -> None:
        """Release the row of a run."""
        statement = "UPDATE runs SET owner = NULL, token = 0 WHERE run_id = ?"
        with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
            assert connection.execute(statement, (run_id,)).rowcount == 1

    def outage(self, seconds: float) -> None:
        """Let another program write for some time."""
        begun = threading.Event()
        threading.Thread(target=self._write, args=(seconds, begun)).start()
        assert begun.wait(10)

    def rows(self) -> int:
        """Count the rows of runs."""
        with closing(sqlite3.connect(self._path)) as connection:
            (count,) = connection.execute(_ROWS).fetchone()
        return int(count)

    def _write(self, seconds: float, begun: threading.Event) -> None:
        with closing(sqlite3.connect(self._path, timeout=10)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            begun.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")
