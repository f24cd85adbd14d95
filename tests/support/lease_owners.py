"""Processes that own runs in a database, and what happens to them."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from locations import program
from owner_script import STEPS

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PATIENCE = 60.0
SCRIPT = program("owner_script.py")


class Owner:
    """Another process, in which runs are held in their second step."""

    def __init__(self, path: Path, lease: float, *runs: str) -> None:
        command = [sys.executable, str(SCRIPT), str(path), str(lease), *runs]
        pipe = subprocess.PIPE
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def suspend(self) -> None:
        """Let it do nothing until it is woken."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> str:
        """Let the runs go on, and tell how they ended."""
        reported, _ = self.process.communicate("\n", timeout=PATIENCE)
        return reported.strip()


@contextmanager
def owner(path: Path, lease: float, *runs: str) -> Generator[Owner]:
    """Give a process that owns runs, which is killed in the end."""
    made = Owner(path, lease, *runs)
    try:
        yield made
    finally:
        made.kill()
        made.process.communicate()


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
    """Do something with the database by hand."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection, connection:
        return connection.execute(statement).fetchall()
