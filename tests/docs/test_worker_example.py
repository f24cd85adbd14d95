"""The example of a queue: of several worker processes, one is killed, and others are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
from locations import EXAMPLES

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

PATIENCE = 60.0
AT_ONCE = 4
STEPS = ["count", "compare", "store"]
ENVIRONMENT = {**os.environ, "PYTHONUTF8": "1"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")


class Queue:
    """The queue in its folder, its files and its workers.

    Attributes:
        workers: The processes started so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = folder / "jobs", folder / "files"
        self._files.mkdir()
        self.workers: list[subprocess.Popen[str]] = []

    def command(self, *words: object, pause: float = 0.0) -> list[str]:
        """The command line of the example."""
        program = [sys.executable, str(EXAMPLES / "worker.py"), str(self.folder)]
        return [*program, f"--pause={pause}", *map(str, words)]

    def call(self, *words: object, code: int = 0) -> list[str]:
        """Call the example, and give the lines that it prints."""
        done = subprocess.run(
            self.command(*words),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, "")
        return done.stdout.splitlines()

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """Write files of so many words each."""
        paths = [self._files / f"file-{number}.txt" for number in numbers]
        for path in paths:
            number = int(path.stem.partition("-")[2])
            path.write_text(" ".join("w" * (one + 1) for one in range(number)), "utf-8")
        return paths

    def start(self, count: int, *words: str) -> list[subprocess.Popen[str]]:
        """Start so many workers, and wait until they are ready."""
        command = self.command("work", *words, pause=0.1)
        for _ in range(count):
            worker = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
            self.workers.append(worker)
        started = self.workers[-count:]
        for worker in started:
            assert worker.stdout is not None
            assert worker.stdout.readline() == f"worker {worker.pid} is ready\n"
        return started

    def log(self) -> list[tuple[int, str, str]]:
        """Which process did which step of which job, in order."""
        path = self.folder / "log.txt"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [(int(pid), step, job) for pid, step, job in map(str.split, lines)]

    def count(self) -> dict[str, int]:
        """The number of jobs by status."""
        cp = CheckpointFlow(f"sqlite:///{self.folder}/jobs.db")
        try:
            return {status: count for status, count in cp.count("status").items() if count}
        finally:
            cp.handler.close()

    def words(self, path: Path) -> int:
        """The result of a job."""
        found = json.loads((self.folder / f"{path.stem}.json").read_text("utf-8"))
        assert len(found["longest"]) == found["words"]
        return int(found["words"])


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """Give a queue, whose workers end with the test."""
    queue = Queue(tmp_path)
    yield queue
    for worker in queue.workers:
        worker.kill()
        worker.communicate()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.leaves_files
def test_worked_off_by_several_processes(queue: Queue) -> None:
    """Each job is done, though one of three workers is killed, and the others are stopped."""
    early, late = queue.files(range(36)), queue.files(range(36, 42))
    changed = queue.files([99])[0]
    killed, *others = queue.start(3)
    assert queue.call("submit", *early) == [f"{path.name}: queued" for path in early]
    wait_until(lambda: len({pid for pid, *_ in queue.log()}) == 3)
    killed.kill()
    queue.call("submit", *late)
    queue.call("submit", changed, "--later", 1.0)
    changed.write_text("other", "utf-8")
    wait_until(lambda: queue.count() == {"finished": 42, "terminated": 1})
    for worker in others:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(PATIENCE) for worker in others] == [0, 0]
    assert [queue.words(path) for path in [*early, *late]] == [*range(42)]

    done: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for pid, step, job in queue.log():
        done[job].append((pid, step))
    assert done.pop(changed.name)[0][1] == "count"
    repeated = [job for job, steps in done.items() if len(steps) > len(STEPS)]
    assert len(repeated) <= AT_ONCE
    for job, steps in done.items():
        counts = Counter(step for _, step in steps)
        assert [*counts] == STEPS
        assert counts.total() <= len(STEPS) + (job in repeated)
        assert job not in repeated or any(pid == killed.pid for pid, _ in steps)
    shown = queue.call("show")
    assert shown[0] == "1 terminated"
    assert shown[1] == "42 finished"
    assert f"{changed.name} has changed since it was submitted" in shown[2]


def test_submitted_again(queue: Queue) -> None:
    """A job that is submitted again is not done again, and a changed file is refused."""
    files = queue.files(range(5))
    queue.call("submit", *files)
    queue.call("submit", *files)
    assert queue.count() == {"queued": 5}
    (worker,) = queue.start(1, "--until-empty")
    assert worker.wait(PATIENCE) == 0
    assert queue.call("submit", *files) == [f"{path.name}: finished" for path in files]
    files[0].write_text("changed", "utf-8")
    assert queue.call("submit", files[0], code=1) == [f"{files[0].name}: StateConflictError"]
    (worker,) = queue.start(1, "--until-empty")
    assert worker.wait(PATIENCE) == 0
    assert Counter(step for _, step, _ in queue.log()) == dict.fromkeys(STEPS, 5)
