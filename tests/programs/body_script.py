"""A program that keeps a file open and does nothing: each line of its input names the next file."""

from __future__ import annotations

import itertools
import os
import sys


def main() -> None:
    """Print a line when it listens, and when a file is open."""
    descriptor = None
    for line in itertools.chain([""], sys.stdin):
        if descriptor is not None:
            os.close(descriptor)
        descriptor = os.open(line.rstrip("\n"), os.O_RDONLY) if line else None
        sys.stdout.write("ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
