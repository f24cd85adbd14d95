"""Write the snapshots that the tests read with every Python: plain data and code, signed and not.

    cd tests/golden && python - < write.py

Run with each supported Python, and add the files. The old ones stay readable for ever. Read from
its standard input the script has no path, which would be stored in the files. An argument is the
directory for the files.
"""

from __future__ import annotations

import collections
import datetime as dt
import os
import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import LocalStateHandler

VERSION = "{}.{}".format(*sys.version_info)
SECRET = b"a secret that everybody may know"
FLOW = "golden"


class Mark:
    """Makes a directory named "mark" when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("mark",)


def double(number: int) -> int:
    """Be a function of a script."""
    return 2 * number


class Thing:
    """Be a class of a script."""

    def __init__(self, name: str) -> None:
        self.name = name


def make_plain() -> dict[str, Any]:
    """Make a state that every Python reads."""
    shared = ["shared"]
    return {
        "numbers": [1, -(2**70), 1.5, None, True, 1j],
        "texts": ["ä😀", b"bytes", bytearray(b"changeable")],
        "nested": {"a": [(1, 2), {3}, frozenset({4})], "shared": shared, "again": shared},
        "counts": collections.Counter("abca"),
        "when": dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC),
        "long": "x" * 300,
        "checkpoint_index": 2,
    }


def make_code() -> dict[str, Any]:
    """Make a state with functions and classes by value, and a mark that it was loaded."""
    return {
        "mark": Mark(),
        "function": double,
        "lambda": lambda a: a + 1,
        "thing": Thing("a"),
        "checkpoint_index": 1,
    }


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for kind, make in (("plain", make_plain), ("code", make_code)):
        LocalStateHandler(place / f"{kind}-{VERSION}.snapshot").write(make())
        signed = place / f"signed-{kind}-{VERSION}.snapshot"
        LocalStateHandler(signed, secret=SECRET, flow=FLOW).write(make())
