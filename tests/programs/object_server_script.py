"""Starts a server of objects: `object_server_script.py`.

Its path has `tests/support`. It prints the server's folder and port in one line, and ends after a
line of its input.
"""

from __future__ import annotations

import sys

from object_server import object_server
from owner_script import say


def main() -> None:
    """Hold the server."""
    with object_server() as server:
        say(f"{server.folder} {server.port}")
        sys.stdin.readline()


if __name__ == "__main__":
    main()
