"""Let two commits of a database in a row fail, by a limit of file sizes, and run the run again.

Argument: the database. Prints the state that the run ends with.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, StorageError

path = Path(sys.argv[1])
cp = CheckpointFlow(path, "sqlite", lease=30.0)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
full = True


@cp.add_step()
def one(state: dict[str, Any]) -> None:
    """Let all commits fail from now on."""
    if full:
        wal = path.with_name(f"{path.name}-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal, hard))


@cp.add_step()
def two(state: dict[str, Any]) -> None:
    """Note that the run went on."""
    state["two"] = True


for _ in range(2):
    with suppress(StorageError):
        cp.run({"x": 1}, run_id="r", once=True)
full = False
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
sys.stdout.write(json.dumps(cp.run({"x": 1}, run_id="r", once=True, wait=3.0)))
