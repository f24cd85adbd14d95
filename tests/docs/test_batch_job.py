"""The example of a batch job: stopped by signals, killed, and started until it has finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest
from locations import EXAMPLES

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from pathlib import Path

POINTS = 60_000
STEPS = 10
STOPPED = 75
PATIENCE = 60.0
NAMES = [f"sample {number}" for number in range(1, STEPS + 1)]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1")


@cache
def estimate() -> float:
    """The result of a job that nobody stops."""
    inside = 0
    for name in NAMES:
        draw = random.Random(name).random  # noqa: S311 - as in the example
        inside += sum(draw() ** 2 + draw() ** 2 < 1 for _ in range(POINTS))
    return 4 * inside / (STEPS * POINTS)


class Job:
    """The job in its folder, through several starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: Counter[str] = Counter()
        self.said: list[str] = []

    def start(self, at: int, *signals: signal.Signals) -> int:
        """Start it, send signals when it has begun so many steps, and give its exit code."""
        command = [sys.executable, str(EXAMPLES / "batch_job.py"), str(self.folder), str(POINTS)]
        environment = {**os.environ, "PYTHONUTF8": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as job:
            assert job.stdout is not None
            steps = 0
            for line in job.stdout:
                self.said.append(line.strip())
                if not line.endswith("begins\n"):
                    continue
                self.begun[line.removesuffix(" begins\n")] += 1
                steps += 1
                if steps == at:
                    for one in signals:
                        job.send_signal(one)
            return job.wait(PATIENCE)

    def status(self) -> tuple[str, int]:
        """The status and position of the run."""
        header = LocalStateHandler(f"{self.folder}/runs/", flow="pi").header("pi")
        assert header is not None
        return header.status, header.position


def test_stopped_and_started_again(tmp_path: Path) -> None:
    """Each signal ends it behind its step, with the documented code. No step runs twice."""
    job = Job(tmp_path)
    for signals in ([signal.SIGUSR1], [signal.SIGTERM], [signal.SIGUSR1, signal.SIGTERM]):
        assert job.start(2, *signals) == STOPPED
        assert job.said[-1] == "stopped, the next start goes on"
        assert job.status() == ("stopped", sum(job.begun.values()))
    assert job.start(0) == 0
    whole = job.said[-1]
    assert whole == f"pi is about {estimate():.4f}, by {STEPS * POINTS} points"
    assert job.begun == Counter(NAMES)
    assert job.start(0) == 0  # finished: it does nothing more
    assert job.said[-1] == whole
    assert sum(job.begun.values()) == STEPS


def test_killed(tmp_path: Path) -> None:
    """A step that was killed runs again, and the result is the same."""
    job = Job(tmp_path)
    assert job.start(3, signal.SIGKILL) == -signal.SIGKILL
    assert job.start(0) == 0
    assert job.said[-1].startswith(f"pi is about {estimate():.4f}")
    assert set(job.begun) == set(NAMES)


def test_signals_at_its_end(tmp_path: Path) -> None:
    """Further signals, sent until it has ended, do not change the exit code."""
    command = [sys.executable, str(EXAMPLES / "batch_job.py"), str(tmp_path), "20000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        while job.poll() is None:
            job.send_signal(signal.SIGUSR1)
            job.send_signal(signal.SIGTERM)
            time.sleep(0.0005)
    assert job.returncode == STOPPED


def test_its_words() -> None:
    """The story names the exit code that the program has."""
    source = (EXAMPLES / "batch_job.py").read_text("utf-8")
    assert f"STOPPED = {STOPPED}" in source
    assert source.count(f"{STOPPED}") >= 5
