"""Forks while locks are taken, and holds them: `fork_lock_script.py WAY DIRECTORY ROUNDS`.

Each child lives until the input ends. WAY is "thread", where the main thread forks while another
takes locks; or "handler", where a function forks that is called in the midst of taking a lock, as
the handler of a signal may be. When all locks are held, the program prints "held" and kills itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from aiocheckpoint.handlers._files.lock import FileLock

LOCKS = 3
LIVING, READY = os.pipe()
"""Each child writes one byte when it lives, which is after Python's own hooks."""


def fork() -> None:
    """Make a child that outlives this process."""
    if os.fork() == 0:
        os.write(READY, b"x")
        os.read(0, 1)
        os._exit(0)
    os.read(LIVING, 1)


def locks_of(place: Path, number: int) -> list[FileLock]:
    """Make the locks of one round."""
    return [FileLock(str(place / f"{number}-{one}"), "x") for one in range(LOCKS)]


def fork_beside(place: Path, rounds: int) -> list[FileLock]:
    """Fork in each round at another moment, while a thread takes locks."""
    held: list[FileLock] = []
    start = threading.Barrier(2)

    def take() -> None:
        for number in range(rounds):
            locks = locks_of(place, number)
            start.wait()
            for lock in locks:
                lock.acquire()
                held.append(lock)

    thread = threading.Thread(target=take)
    thread.start()
    for number in range(rounds):
        start.wait()
        time.sleep(0.00001 * (number % 20))
        fork()
    thread.join()
    return held


def fork_inside(place: Path, rounds: int) -> list[FileLock]:
    """Fork right after a lock file was opened."""
    opening, forks = os.open, iter(range(rounds))

    def open_and_fork(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opening(path, flags, mode)
        if next(forks, None) is not None:
            fork()
        return descriptor

    os.open = open_and_fork  # type: ignore[assignment]
    held = locks_of(place, 0)
    for lock in held:
        lock.acquire()
    return held


def main() -> None:
    """Take the locks, and die."""
    ways = {"thread": fork_beside, "handler": fork_inside}
    held = ways[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    assert all(lock.held for lock in held)
    sys.stdout.write(f"{len(held)}\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
