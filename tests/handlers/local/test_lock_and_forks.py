"""Forks in the very instant in which a lock is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from locations import program

from aiocheckpoint import RunInProgressError
from aiocheckpoint.handlers._files.lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("fork_lock_script.py")
ROUNDS = {"thread": 60, "handler": 5}
PATIENCE = 60.0

pytestmark = needs_fork


def check_locks(way: str, rounds: int, place: Path) -> None:
    """Check that no lock of a killed process is held by its children, which live on."""
    place.mkdir()
    words = [sys.executable, str(SCRIPT), way, str(place), str(rounds)]
    inward, outward = os.pipe()
    with subprocess.Popen(words, stdin=inward, stdout=subprocess.PIPE, text=True) as process:
        os.close(inward)
        try:
            assert process.stdout is not None
            count = int(process.stdout.readline())
            process.wait(PATIENCE)
            held = [path.name for path in sorted(place.iterdir()) if is_held(path)]
        finally:
            os.close(outward)
    assert (held, count > 0) == ([], True)


def is_held(path: Path) -> bool:
    """Whether a lock cannot be taken. A free one is deleted."""
    lock = FileLock(str(path), "x")
    try:
        lock.acquire()
    except RunInProgressError:
        return True
    lock.release()
    return False


@pytest.mark.parametrize("way", ROUNDS)
def test_forks_while_locks_are_taken(way: str, tmp_path: Path) -> None:
    """A forked child holds no lock after the death of its parent, whenever it was forked."""
    check_locks(way, ROUNDS[way], tmp_path / "place")
