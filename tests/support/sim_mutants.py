"""Faults in a copy of the library, or of the statements of a store, which the simulation finds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locations import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MUTANTS", "Mutant", "search_mutant"]

_LIBRARY, _SUPPORT = "src/aiocheckpoint", "tests/support"
_LEASED = f"{_LIBRARY}/handlers/leased"
_SECONDS = 110
_ROBBED = "is robbed"


@dataclass(frozen=True)
class Mutant:
    """A change of one place.

    Attributes:
        file: The file.
        old, new: The code, and what takes its place.
        problem: A part of the problem that is found.
    """

    file: str
    old: str
    new: str
    problem: str

    def apply(self, root: Path) -> None:
        """Change the file in a copy of the tree."""
        path = root / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, f"{self.file} has other code by now: {self.old}"
        path.write_text(text.replace(self.old, self.new))


MUTANTS = {
    "no fence": Mutant(
        f"{_SUPPORT}/memory_store.py",
        "(row.id, row.token) == (lease.row, lease.token)",
        "row.id == lease.row",
        "is stored under a lost lease",
    ),
    "the fence is not asked": Mutant(
        f"{_LEASED}/_saves.py",
        "if done != len(batch.steps) + len(batch.status_changes):",
        "if False:",
        "is acknowledged, and was never stored",
    ),
    "a lost answer is a failure": Mutant(
        f"{_LEASED}/_saves.py",
        "if number not in stored:",
        "if number is not None:",
        "is stored, and its caller is told that it is not",
    ),
    "a lost connection is not repeated": Mutant(
        f"{_LEASED}/_store_processor.py",
        "if not isinstance(error, StoreUnreachableError):",
        "if True:",
        "has ended before the patience",
    ),
    "a repeated claim counts twice": Mutant(
        f"{_LEASED}/_claims.py",
        "if lease.counted is not None and run.lost is None and run.since != now:",
        "if False:",
        "is not counted",
    ),
    "looks count without a commit": Mutant(
        f"{_LEASED}/_owner_watch.py",
        """        self._uncommitted.clear()
        for owner_id, watch in self._watches.items():""",
        """        self.committed()
        for owner_id, watch in ():""",
        _ROBBED,
    ),
    "a release that failed is forgotten": Mutant(
        f"{_LEASED}/_store_processor.py",
        "if isinstance(pending.request, Release) and pending not in self._held_up",
        "if pending is None",
        "is alive and has it not",
    ),
    "a lease that nobody wants is kept": Mutant(
        f"{_LEASED}/_processor.py",
        "session.released_early.append(Release.of(lease, lease.token))",
        "pass",
        "is alive and has it not",
    ),
    "one token for all": Mutant(
        f"{_LEASED}/_claims.py",
        "lease.asked_token or next(tokens)",
        "7",
        "is claimed once more with the token",
    ),
    "no half second": Mutant(
        f"{_LEASED}/_owner_watch.py",
        "SECONDS_WITHOUT_SESSION = 0.5",
        "SECONDS_WITHOUT_SESSION = 0.01",
        _ROBBED,
    ),
    "a restart of the server is a death": Mutant(
        f"{_LEASED}/_owner_watch.py",
        "min(watch.seconds_closed, seconds_up - _heartbeat(owner))",
        "watch.seconds_closed",
        _ROBBED,
    ),
    "no heartbeats": Mutant(
        f"{_LEASED}/_store_session.py",
        "if self.seconds_to_heartbeat <= 0:\n            self._beat",
        "if self.seconds_to_heartbeat < -1e9:\n            self._beat",
        _ROBBED,
    ),
    "a lost connection is not noticed": Mutant(
        f"{_LEASED}/_store_processor.py",
        "_SECONDS_TO_RECONNECT = 0.2",
        "_SECONDS_TO_RECONNECT = 1.0",
        _ROBBED,
    ),
    "late steps replace newer ones": Mutant(
        f"{_SUPPORT}/memory_store.py",
        "return row if row.sequence <= save.header.sequence else None",
        "return row",
        "replaces a newer snapshot",
    ),
    "sessions go on beside new ones": Mutant(
        f"{_SUPPORT}/sim_connection.py",
        "if old is not None and old is not self._session:",
        "if False:",
        "is claimed once more with the token",
    ),
    "the dead are not freed": Mutant(
        f"{_LEASED}/_owner_watch.py",
        "return None if left <= 0 < watch.seconds else max(left, 0.0)",
        "return max(left, 0.1)",
        "is dead and has it not",
    ),
}


def search_mutant(mutant: Mutant, root: Path, schedules: int) -> str:
    """Run schedules with a mutant, and give what is told of the first that fails.

    Args:
        mutant: The change.
        root: An empty directory, for the copy.
        schedules: How many.
    """
    shutil.copytree(ROOT / _LIBRARY, root / _LIBRARY, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(ROOT / _SUPPORT, root / _SUPPORT, ignore=shutil.ignore_patterns("*.pyc"))
    mutant.apply(root)
    command = [sys.executable, "-m", "sim_leases", "0", "--count", str(schedules)]
    environment = {"PYTHONPATH": f"{root}/src:{root}/tests/support", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    found = re.search(r"^seed .*", done.stdout, re.MULTILINE)
    return done.stderr if found is None else found[0]
