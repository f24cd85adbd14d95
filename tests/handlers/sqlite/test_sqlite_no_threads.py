"""Where no thread can be started, every call on a database works or raises a documented error."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest
from locations import program

READS = {"plan", "runs", "header", "read", "close", "once"}
"""Calls that write nothing. `once` is for a finished run."""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts threads on Linux")
def test_no_thread_can_be_started() -> None:
    """Reads work. Every write is a `StorageError` that names the file, and does nothing later.

    `aresume_all` has no thread to read in.
    """
    # The program becomes another user, who may not enter a folder of root's.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(program("no_threads_script.py")), folder],
            capture_output=True,
            text=True,
            check=True,
        )
    ends = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(ends) > len(READS)
    assert ends.pop("aresume_all").startswith("NoThreadError ")
    for name, end in ends.items():
        assert end == ("done" if name in READS else "StorageError named"), name
