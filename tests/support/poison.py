"""Workers that a supervisor starts again, and a run that kills them."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import poison_script

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow, Header

BAD = "bad"


class Supervisor:
    """Keeps so many workers alive until each has ended by itself.

    Attributes:
        deaths: How many workers were killed.
    """

    def __init__(self, workers: int, *arguments: object) -> None:
        """Start them, with the arguments of the script."""
        script = poison_script.__file__
        self._command = [sys.executable, script, *map(str, arguments)]
        self._workers = [self._start() for _ in range(workers)]
        self.deaths = 0

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def watch(self, cp: CheckpointFlow, seconds: float) -> dict[str, int]:
        """Start killed workers again until all have ended, and look at the runs meanwhile.

        Returns:
            The most kills that were counted at a step, by run.
        """
        most, deadline = dict[str, int](), time.monotonic() + seconds
        while self._workers:
            assert time.monotonic() < deadline, "the workers do not come to an end"
            for header in cp.runs():
                most[str(header.run_id)] = max(most.get(str(header.run_id), 0), header.killed)
            self._replace_dead()
            time.sleep(0.05)
        return most

    def _replace_dead(self) -> None:
        for number, worker in enumerate(self._workers):
            if (code := worker.poll()) is not None:
                assert code in {0, -9}
                del self._workers[number]
                if code:
                    self.deaths += 1
                    self._workers.append(self._start())
                return

    def end(self) -> None:
        """Kill those that are left."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


def check_poison(folder: Path, *, healthy: int, seconds: float, limit: int, wait: float) -> None:
    """Let three workers meet a run that kills them, among healthy ones, and check all ends."""
    path = str(folder / "runs.db")
    cp = poison_script.make_flow(path, seconds)
    cp.submit({BAD: {"poison": True}})
    cp.submit({f"good-{number}": {"poison": False} for number in range(healthy)})
    supervisor = Supervisor(3, path, seconds, limit)
    try:
        killed = supervisor.watch(cp, wait)
    finally:
        supervisor.end()
    headers = {str(header.run_id): header for header in cp.runs()}
    _check_bad(headers.pop(BAD), supervisor.deaths)
    assert len(headers) == healthy
    assert {header.status for header in headers.values()} == {"finished"}
    killed.pop(BAD)
    assert max(killed.values()) <= 2
    assert all(cp.read(run_id)["stored"] for run_id in headers)


def _check_bad(header: Header, deaths: int) -> None:
    assert (header.status, header.terminated_by) == ("terminated", "starts")
    assert header.termination == "its process was killed 5 times at step 'parse'"
    assert deaths == 5
