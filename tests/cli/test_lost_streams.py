"""Streams that cannot be written, as on a full disk: one line says so, and no work is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli import COMMAND_LINE, clean_environment
from order_store import VERSIONS, open_orders
from stored_runs import queue_run

from aiocheckpoint.look import open_store

FULL = Path("/dev/full")
LOST = "aiocheckpoint: stdout cannot be written: No space left on device.\n"

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a database of 30 runs that failed."""
    cp = open_orders(tmp_path)
    for number in range(30):
        queue_run(cp, f"r{number}", {}, status="failed", **VERSIONS)
    cp.handler.close()
    return tmp_path


def call(folder: Path, *words: str, lost: str = "stdout") -> tuple[int, str]:
    """Call a command with a full disk at a stream. Give its exit code, and the other stream."""
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*COMMAND_LINE, *words],
            cwd=folder,
            env=clean_environment(None),
            check=False,
            timeout=60,
            stdout=full if lost == "stdout" else subprocess.PIPE,
            stderr=full if lost == "stderr" else subprocess.PIPE,
        )
    return done.returncode, (done.stderr if lost == "stdout" else done.stdout).decode()


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("runs", "--help"),
        ("runs", "orders.db"),
        ("runs", "orders.db", "--output", "jsonl"),
        ("show", "orders.db", "r1", "--output", "json"),
    ],
)
def test_reading(words: tuple[str, ...], folder: Path) -> None:
    """A command that reads ends with one line."""
    assert call(folder, *words) == (1, LOST)


@pytest.mark.parametrize("form", ["text", "json", "jsonl"])
def test_many_changes(form: str, folder: Path) -> None:
    """All runs are changed, and the sum is said where their lines cannot be."""
    words = ("requeue", "orders.db", "--status", "failed", "--write", "--output", form)
    code, said = call(folder, *words)
    assert (code, said) == (1, f"30 requeued.\n{LOST}")
    with open_store(folder / "orders.db") as store:
        assert {run.status for run in store.runs()} == {"stopped"}


def test_one_change(folder: Path) -> None:
    """One run is told of as well."""
    assert call(folder, "requeue", "orders.db", "r3", "--write") == (1, f"1 requeued.\n{LOST}")


def test_stderr(folder: Path) -> None:
    """Words that cannot be said change nothing: the exit code is that of the command."""
    assert call(folder, "show", "orders.db", "nope", lost="stderr") == (3, "")
    words = ("requeue", "orders.db", "--all", "--write")
    code, printed = call(folder, *words, lost="stderr")
    assert (code, printed.count(os.linesep)) == (0, 30)
