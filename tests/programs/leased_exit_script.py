"""A program that ends while runs are on a leased store, with or without an outage."""

# ruff: noqa: E402, T201 - what is registered before the library's own is called behind it

from __future__ import annotations

import atexit
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
at_exit: list[MemoryServer] = []
atexit.register(lambda: [print(len(one.tables.owners), len(one.sessions)) for one in at_exit])

from memory_store import MemoryHandler, MemoryServer

server = MemoryServer()
at_exit.append(server)
handler = MemoryHandler(server)
lease = handler.lock("x")
lease.acquire()
if sys.argv[1] == "outage":
    server.stop()
    threading.Thread(target=handler.lock("y").acquire, daemon=True).start()
    time.sleep(0.3)
