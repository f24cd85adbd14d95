"""Runs a flow where the system lacks a call: `lacking_script.py PATH kernel|lease`.

Prints "ran", or "refused" where the error names the remedy.
"""

from __future__ import annotations

import sys
from typing import Any

from aiocheckpoint import CheckpointFlow, StorageError


def main() -> None:
    """Run, and say the outcome."""
    options: dict[str, Any] = {"lock": sys.argv[2]}
    cp = CheckpointFlow(sys.argv[1], fsync=False, **options)
    cp.add_step(name="only")(lambda state: None)
    try:
        cp.run({})
    except StorageError as error:
        print("refused" if "lock='lease'" in str(error) else error)  # noqa: T201
    else:
        print("ran")  # noqa: T201


if __name__ == "__main__":
    main()
