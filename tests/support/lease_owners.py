"""Processes that own runs in a database, and can be suspended, woken and ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locations import program
from owner_script import STEPS

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

PATIENCE = 60.0


class Process:
    """Another process, which has printed its first line, and ends after a line of its input."""

    def __init__(self, script: Path, *words: object, before: Sequence[str] = ()) -> None:
        command = [*before, sys.executable, str(script), *map(str, words)]
        pipe = subprocess.PIPE
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def suspend(self) -> None:
        """Suspend it until it is woken."""
        suspend(self.process.pid)

    def wake(self) -> None:
        """Wake it."""
        wake(self.process.pid)

    def end(self) -> str:
        """Let it end, and return the rest of its output."""
        reported, _ = self.process.communicate("\n", timeout=PATIENCE)
        return reported.strip()


def suspend(pid: int) -> None:
    """Stop a process by a signal, and wait until the system says so."""
    os.kill(pid, signal.SIGSTOP)
    _await(pid, stopped=True)


def wake(pid: int) -> None:
    """Let a stopped process go on, and wait until the system says so."""
    os.kill(pid, signal.SIGCONT)
    _await(pid, stopped=False)


def _await(pid: int, *, stopped: bool) -> None:
    # The state is behind the name in parentheses, see proc_pid_stat(5).
    file = Path(f"/proc/{pid}/stat")
    while file.exists() and (") T " in file.read_text("ascii")) is not stopped:
        time.sleep(0.005)


@contextmanager
def process(name: str, *words: object, before: Sequence[str] = ()) -> Generator[Process]:
    """Give a process of a program in tests/programs, which is killed at the end.

    Args:
        name: The file name of the program.
        words: Its arguments.
        before: The words before the command.
    """
    made = Process(program(name), *words, before=before)
    try:
        yield made
    finally:
        made.kill()
        made.process.communicate()


@contextmanager
def owner(path: Path, lease: float, *runs: str) -> Generator[Process]:
    """Give a process whose runs are held in their second step, which is killed at the end."""
    with process("owner_script.py", path, lease, *runs) as made:
        assert made.first == "held"
        yield made


def successor(path: Path, lease: float = 60.0) -> CheckpointFlow:
    """Make the flow as this process runs it."""
    cp = CheckpointFlow(path, "sqlite", lease=lease)
    for name in STEPS:

        def step(state: dict[str, Any], name: str = name) -> None:
            state["trail"] = [*state["trail"], f"{name} of the taker"]

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


TAKEN = {"trail": ["a of the owner", "b of the taker", "c of the taker"]}
KEPT = {"trail": ["a of the owner", "b of the owner", "c of the owner"]}


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement on the database by hand."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection, connection:
        return connection.execute(statement).fetchall()
