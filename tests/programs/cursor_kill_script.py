"""Kills its own children in the midst of a step with a cursor, and prints what each was given.

    python cursor_kill_script.py DIRECTORY PLACE ...

Each place is one of `CursorStore`. A child goes through pages, and waits at each until the store
has the cursor, which only the looks of another thread store. It is killed there, once at each page,
and the next child goes on. The last one is left alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cursor_flows import CursorStore

from aiocheckpoint import current_step
from aiocheckpoint._engine import claimed_runs

if TYPE_CHECKING:
    from support import State

PAGES = 3


def child(store: CursorStore, writer: int) -> None:
    """Go on with the pages, and report each cursor that was given, and each page that is stored."""
    claimed_runs.LOOK_SECONDS = 0.02

    def pages(state: State) -> None:
        cursor = current_step().cursor
        os.write(writer, f"given {json.dumps(cursor)}\n".encode())
        first = (cursor or {"page": 0})["page"] + 1
        for page in range(first, PAGES + 1):
            current_step().progress(page, PAGES, "pages", cursor={"page": page})
            while f'"page":{page}'.encode() not in (store.record() or b""):
                time.sleep(0.005)
            os.write(writer, b"stored\n")
            time.sleep(60)  # Here it is killed.

    store.flow(pages).run({}, run_id=store.run_id)


def kill_each(store: CursorStore) -> list[State | None]:
    """Kill a child at each page, let the last one end, and give their cursors."""
    given: list[State | None] = []
    for _ in range(PAGES + 1):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            child(store, writer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="ascii") as lines:
            given.append(json.loads(lines.readline().removeprefix("given ")))
            if lines.readline() == "stored\n":
                os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return given


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    report = {}
    for place in sys.argv[2:]:
        (folder / place).mkdir()
        made = CursorStore(folder / place, place)
        report[place] = {"given": kill_each(made), "left": made.record() is not None}
    sys.stdout.write(json.dumps(report))
