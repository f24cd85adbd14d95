"""The least that the steps of many runs can cost in files: each replaced durably by bare calls."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from measure.pairs import Contender

from workloads.floor import replace

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileCommits"]

THREADS = 4
"""As many as aiocheckpoint has for snapshots. The file system may sync several files at once."""


class FileCommits:
    """Replaces a file of each run, in threads, many times. Each file survives a power cut.

    Nothing is serialised, and no loop runs.

    Args:
        directory: Where the files are made.
        runs: How many files there are.
        steps: How often a sample replaces each.
        size: How many bytes a snapshot has.
    """

    def __init__(self, directory: Path, runs: int, steps: int, size: int) -> None:
        directory.mkdir(parents=True)
        self._directory = str(directory)
        self._targets = [str(directory / f"order-{number}.pkl") for number in range(runs)]
        self._steps = steps
        self._size = size
        self._pool = ThreadPoolExecutor(THREADS)

    @property
    def contender(self) -> Contender:
        """The contender of the table."""
        return Contender(f"floor, {len(self._targets)} files", self.sample)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def sample(self) -> float:
        """Do all steps, and give how many there are in a second."""
        begun = time.perf_counter()
        for _ in range(self._steps):
            list(self._pool.map(self._replace, self._targets))
        return len(self._targets) * self._steps / (time.perf_counter() - begun)

    def _replace(self, target: str) -> None:
        replace(target, f"{target}.tmp", self._directory, os.urandom(self._size))
