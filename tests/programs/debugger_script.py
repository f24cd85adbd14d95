"""A program that stops all threads of a process as a debugger does: `debugger_script.py PID`.

It prints "attached", or "refused" where the system does not allow it, and lets the threads go on
after a line of its input (https://man7.org/linux/man-pages/man2/ptrace.2.html).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from owner_script import say

_ATTACH, _DETACH = 16, 17
_WAIT_FOR_THREADS = 0x40000000  # __WALL


def main(pid: str) -> None:
    """Attach to the threads, wait, and detach."""
    library = ctypes.CDLL(None, use_errno=True)
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    for thread in threads:
        if library.ptrace(_ATTACH, thread, None, None):
            say("refused")
            return
        os.waitpid(thread, _WAIT_FOR_THREADS)
    say("attached")
    sys.stdin.readline()
    for thread in threads:
        library.ptrace(_DETACH, thread, None, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
