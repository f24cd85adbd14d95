"""Looks into a store in every way, and prints what it opened for writing, changed or imported.

python looking_script.py PLACE RUN [SECRET]
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from aiocheckpoint.look import open_store

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = frozenset(
    [
        "os.remove",
        "os.rename",
        "os.link",
        "os.mkdir",
        "os.rmdir",
        "os.truncate",
        "os.chmod",
        "os.symlink",
        "os.utime",
        "shutil.copyfile",
        "tempfile.mkdtemp",
        "pickle.find_class",
    ]
)
seen: list[str] = []


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Note what must not happen."""
    if event == "open" and isinstance(args[2], int) and args[2] & WRITES:
        seen.append(f"open {args[0]} {args[1]} {args[2]}")
    elif event in CHANGES:
        seen.append(f"{event} {args}")


def main(place: str, run_id: str, *secrets: str) -> None:
    """Look in every way."""
    sys.addaudithook(watch)
    with open_store(place, secret=list(secrets) or None) as store:
        number = sum(flow.total for flow in store.flows())
        for sort in ("began", "wrote", "took"):
            assert len(list(store.runs(sort=sort))) == number
        assert store.count(("status", "step", "error", "day")).total == number
        shown = store.run(run_id, values=True, sizes=True)
        history = store.history(run_id, keys=True)
        if len(history) > 1:
            store.diff(run_id, values=True).to_json()
        damaged = [run.location for run in store.verify() if run.damage is not None]
    found = {"seen": seen, "number": number, "damaged": damaged, "run": shown.to_json()}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
