"""Other processes that contend for a checkpoint, as the tests of the lock use them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from support import Runner, State

PATIENCE = 60.0
LOCK_PROCESS = program("lock_process_script.py")


class LockProcess:
    """Another process that runs a flow on command."""

    def __init__(self, path: Path, lease: float | None = None) -> None:
        """Start it, and wait until it listens."""
        pipe = subprocess.PIPE
        command = [sys.executable, str(LOCK_PROCESS), str(path)]
        command += [] if lease is None else [str(lease)]
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True
        )
        assert self.answer() == "ready"

    def send(self, command: str) -> None:
        """Give it a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Read its next answer."""
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline()
        return line.strip()

    def kill(self) -> None:
        """Kill it, so that it cannot clean up."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it end."""
        self.process.communicate(timeout=PATIENCE)


@contextmanager
def lock_process(
    path: Path, command: str = "", answer: str = "", *, lease: float | None = None
) -> Generator[LockProcess]:
    """Give another process that has received one command and has answered."""
    other = LockProcess(path, lease)
    try:
        if command:
            other.send(command)
            assert other.answer() == answer
        yield other
    finally:
        other.close()


def flow(path: Path, step: Callable[[State], None] = lambda state: None) -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow(path, "sqlite" if path.suffix == ".db" else "local")
    cp.add_step(name="only")(step)
    return cp


def refuse(runner: Runner, path: Path) -> RunInProgressError:
    """Check that a run is refused before its step, and give the error."""
    ran: list[State] = []
    with pytest.raises(RunInProgressError) as info:
        runner(flow(path, ran.append))
    assert ran == []
    return info.value
