"""Whether a process has ended, as /proc shows it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aiocheckpoint.handlers._files.processes import has_ended, started_at

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110

# The number of exit(2), which ends the calling thread alone, on x86-64 and on the newer machines.
MAIN_THREAD_ENDS = """
import ctypes, os, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""


def state_of(pid: int) -> str:
    """The state of a process, such as "S" or "Z"."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]


def test_main_thread_alone_has_ended() -> None:
    """A process whose main thread has ended lives as long as another thread does.

    The system shows it as a zombie all that time.
    """
    process = subprocess.Popen([sys.executable, "-c", MAIN_THREAD_ENDS], stdin=subprocess.PIPE)
    started = started_at(process.pid)
    while state_of(process.pid) != "Z":
        assert process.poll() is None
    assert not has_ended(process.pid, started)
    assert process.stdin is not None
    process.stdin.close()
    while not has_ended(process.pid, started):
        assert state_of(process.pid) == "Z"
    process.wait()
    assert has_ended(process.pid, started)
