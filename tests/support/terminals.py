"""Programs on a pseudo-terminal."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pty = pytest.importorskip("pty", reason="pseudo-terminals are a POSIX thing")

PATIENCE = 60.0


class Terminal:
    """A program on a pseudo-terminal, driven by reading and typing."""

    def __init__(self, words: list[str], folder: Path) -> None:
        """Start the program in a folder, with the terminal as its standard streams."""
        self.main, child = pty.openpty()
        env = {k: v for k, v in os.environ.items() if k != "PYTHONBREAKPOINT"}
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env={**env, "TERM": "dumb", "PYTHON_COLORS": "0"},
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self.seen = ""

    def wait_for(self, text: str) -> str:
        """Read until a text comes, and return everything up to it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self.main], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waited for {text!r}, saw: {self.seen}"
            self.seen += self._read()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.main, line.encode() + b"\n")

    def close(self) -> None:
        """End the program, if it is still running, and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self.main)

    def _read(self) -> str:
        try:
            chunk = os.read(self.main, 4096)
        except OSError:
            chunk = b""
        assert chunk, f"the program ended after: {self.seen}"
        return chunk.decode()
