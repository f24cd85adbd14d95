"""Adopt all runs of a store, and be killed in the n-th.

python tests/programs/adopt_script.py PATH SECRET N
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from aiocheckpoint import adopt_all
from aiocheckpoint._snapshot.codec import Codec


def main() -> None:
    """Adopt, and count the snapshots that are written."""
    path, secret, number = sys.argv[1:]
    left = int(number)
    copy = Codec.copy

    def counted(*args: Any) -> Any:  # noqa: ANN401 - passed on
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return copy(*args)

    setattr(Codec, "copy", counted)  # noqa: B010 - a type checker would mind the assignment
    adopt_all(path, secret=secret)


main()
