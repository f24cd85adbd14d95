"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import closing, suppress


def find_port() -> int:
    """Find a free port outside the range that the system gives to clients.

    A server that is down for a moment finds its port free again.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with closing(socket.socket()) as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
