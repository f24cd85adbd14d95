"""Asks for a thread under limits of address space around that at which its stack just fits.

Each limit has a forked child of its own. A child that waits for ever is ended by an alarm.

Prints the outcome of each child.
"""

import os
import resource
import signal
import sys
import threading
from hashlib import sha256
from pathlib import Path

from aiocheckpoint import NoThreadError
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._snapshot import payload

STACK = 1 << 20
PAGE = resource.getpagesize()
PATIENCE = 10
LARGE = bytearray(os.urandom(1 << 21))


class Target:
    """Takes bytes and keeps none."""

    def write(self, chunk: object) -> None:
        """Take bytes."""

    def rewind(self) -> None:
        """Start over."""


def call() -> str:
    """Make a call, and another one without a limit."""
    threads = DaemonThreads("limited", 1)
    outcome = attempt(threads)
    lift()
    assert attempt(threads) == "done"
    return outcome


def attempt(threads: DaemonThreads) -> str:
    """Make a call."""
    item = WorkItem(int, (), None)
    try:
        threads.put(item)
        item.join()
        item.outcome()
    except NoThreadError:
        assert item.drop()
        return "refused"
    return "done"


def digest() -> str:
    """Write a large payload."""
    writer = payload.PayloadWriter(Target())
    writer.write(LARGE)
    writer.write(b".")
    _, found = writer.finish(0)
    lift()
    return "done" if found == sha256(LARGE + payload.position_added(0)).digest() else "wrong"


def lift() -> None:
    """Let the process have as much as it likes."""
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))


def size() -> int:
    """The address space of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * PAGE


def child(pages: int) -> str:
    """Do it in a forked child. Give what it prints, or that it had to be ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        resource.setrlimit(resource.RLIMIT_AS, (size() + STACK + pages * PAGE, -1))
        outcome = {"call": call, "digest": digest}[sys.argv[1]]()
        os.write(writing, outcome.encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    outcome = os.read(reading, 100).decode()
    os.close(reading)
    return outcome or f"status {status}"


if __name__ == "__main__":
    threading.stack_size(STACK)
    sys.stdout.write("\n".join(child(pages) for pages in range(-1, 16)))
