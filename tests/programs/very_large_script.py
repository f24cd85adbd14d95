"""Stores a state with one very large object over a small one: `PATH fsync|no-fsync`.

It prints "stored", or the name of the error.
"""

from __future__ import annotations

import sys

from aiocheckpoint import LocalStateHandler, StorageError

SIZE = 9 << 20


def main(path: str, durable: str) -> None:
    """Store the state."""
    handler = LocalStateHandler(path, fsync=durable == "fsync")
    try:
        handler.write({"small": 1, "large": bytes(SIZE)})
    except StorageError:
        print("StorageError")  # noqa: T201
    else:
        print("stored")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
