"""Processes of 0.5.0 and of this release on one store: a deploy under load, and its check."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import deploy_script
from deploy_script import EVERY_PAUSE
from killed_workers import read_log
from killed_workers_script import STEPS, last_state, run_id
from locations import GOLDEN

import aiocheckpoint

if TYPE_CHECKING:
    from typing import Any

WHEEL = GOLDEN / "aiocheckpoint-0.5.0-py3-none-any.whl"
"""Built of the sources of 0.5.0 by `python -m build --wheel`. It is whole, as its users had it."""
OLD, NEW = "0.5.0", aiocheckpoint.__version__
LOCATIONS = {"sqlite": "sqlite:///{}/runs.db", "directory": "{}/runs/"}
PATIENCE = 100.0


@dataclass
class RunHistory:
    """The history of one run, as the log has it.

    Attributes:
        acknowledged: The number of steps acknowledged.
        begun: The number of steps begun.
        life: The last process that executed it.
        inside: Whether it is in a step there. Behind a step the snapshot may release the run, and
            another process may begin before the first one has noted more.
        ended: The last step that ended, and the process.
        repeated: How often a step that had ended was executed again.
    """

    acknowledged: int = 0
    begun: int = 0
    life: str = ""
    inside: bool = False
    ended: tuple[int, str] = -1, ""
    repeated: int = 0

    def go_on(self, word: str, step: int, life: str, killed: set[str]) -> None:
        """Check that a line of the log may come next."""
        assert life not in killed, "a killed process goes on"
        if word in {"begin", "break", "end"}:
            if life != self.life:
                assert word == "begin", "it goes on in a process in which it did not begin"
                assert not self.inside or self.life in killed, "it is in two processes at once"
                self.life = life
            self.inside = word == "begin"
        if word == "begin":
            assert self.acknowledged <= step, "a step runs again that was acknowledged"
            assert step <= self.begun, "a step was passed over"
            self.begun = max(self.begun, step + 1)
            if step == self.ended[0]:
                assert self.ended[1] in killed, "a step runs again, and no process was killed"
                self.repeated += 1
        elif word == "end":
            self.ended = step, life
        elif word == "ack":
            assert step < self.begun, "a step is acknowledged that did not begin"
            self.acknowledged = max(self.acknowledged, step + 1)


def installed(folder: Path) -> dict[str, str]:
    """Unpack the wheel, and give the path of the package for each release."""
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder / OLD)
    return {OLD: str(folder / OLD), NEW: str(Path(aiocheckpoint.__file__).parents[1])}


@dataclass
class Deploy:
    """A store, and the processes of both releases that work on it.

    Attributes:
        folder: An empty directory.
        kind: The kind of store.
        durable: "fsync" or "no-fsync".
        runs: The number of runs.
        rng: Decides how processes end.
        serving: The processes, the oldest first, each with its number.
        started: The release of each process that was started, in order.
    """

    folder: Path
    kind: str
    durable: str
    runs: int
    rng: random.Random
    serving: list[tuple[str, subprocess.Popen[str]]] = field(
        default_factory=list[tuple[str, "subprocess.Popen[str]"]]
    )
    started: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.paths = installed(self.folder)
        (self.folder / "runs").mkdir()
        self.place = LOCATIONS[self.kind].format(self.folder)
        self.log = self.folder / "log"
        self.log.touch()

    def command(self, release: str, *words: object) -> tuple[list[str], dict[str, str]]:
        """The command line of the script, and its environment."""
        line = [sys.executable, deploy_script.__file__, *map(str, words)]
        return line, {**os.environ, "PYTHONPATH": self.paths[release]}

    def start(self, release: str) -> None:
        """Start a process of a release, and wait until it serves."""
        self.started.append(release)
        life = len(self.started)
        words = "serve", self.place, self.log, self.runs, life, self.durable
        line, environment = self.command(release, *words)
        process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
        self.serving.append((str(life), process))
        self.wait_for(lambda: f"up - - {life}\n" in self.log.read_text("ascii"))

    def wait_for(self, condition: Any) -> None:  # noqa: ANN401
        """Wait until a condition is true, or all processes have ended."""
        deadline = time.monotonic() + PATIENCE
        while not condition() and any(one.poll() is None for _, one in self.serving):
            assert time.monotonic() < deadline, "nothing goes on any more"
            time.sleep(0.002)

    def end_oldest(self) -> None:
        """Kill the oldest process, or let it drain."""
        life, process = self.serving.pop(0)
        if self.rng.random() < 0.5:
            process.send_signal(signal.SIGSTOP)  # No line of it comes behind the next one.
            with self.log.open("a") as log:
                log.write(f"kill - - {life}\n")
            process.kill()
        else:
            process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def check_end(self, process: subprocess.Popen[str]) -> None:
        """Check that a process ended without an error, or was killed.

        One that had nothing left to do when SIGTERM came may have ended by it.
        """
        _, said = process.communicate(timeout=PATIENCE)
        ends = {0, -signal.SIGKILL, -signal.SIGTERM}
        assert process.returncode in ends, said[-10_000:]
        assert "Traceback" not in said, said[-10_000:]

    def roll(self, releases: list[str]) -> None:
        """Replace the oldest process by one of each release in turn, then let the last one end."""
        whole = self.runs * len(STEPS) * 3 * len("begin order-10 a 10\n")
        self.start(OLD)
        self.start(OLD)
        for number, release in enumerate(releases, 1):
            share = int(0.8 * whole * number / (len(releases) + 1))
            self.wait_for(lambda share=share: self.log.stat().st_size > share)
            self.start(release)
            self.end_oldest()
        self.end_oldest()
        if self.rng.random() < 0.5:
            self.start(NEW)
        for _, process in self.serving:
            self.check_end(process)
        self.serving.clear()
        self.start(NEW)  # What a process left when it was killed last.
        self.check_end(self.serving.pop()[1])

    def check(self) -> None:
        """Check the log, and that both releases see each run ended once, with its true state."""
        histories = read_log(self.log, RunHistory)
        lines = [line.split(" ") for line in self.log.read_text("ascii").splitlines()]
        acknowledging = {self.started[int(life) - 1] for word, _, _, life in lines if word == "ack"}
        assert acknowledging == {OLD, NEW}
        assert sorted(histories) == sorted(map(run_id, range(self.runs)))
        assert {one.begun for one in histories.values()} == {len(STEPS)}
        answers = [{"by": "Ann"} if n % EVERY_PAUSE == 0 else {} for n in range(self.runs)]
        wanted = sorted(
            [run_id(n), "finished", 1, {**last_state(n), **answers[n], "checkpoint_index": 0}]
            for n in range(self.runs)
        )
        for release in (NEW, OLD):
            line, environment = self.command(release, "list", self.place)
            listed = subprocess.run(
                line, env=environment, capture_output=True, text=True, check=False
            )
            assert listed.returncode == 0, listed.stderr
            assert json.loads(listed.stdout) == wanted

    def stop_all(self) -> None:
        """Kill what is left."""
        for _, process in self.serving:
            process.kill()
            process.communicate()


def roll_out(folder: Path, kind: str, durable: str, runs: int, releases: list[str]) -> None:
    """Deploy releases one after another on one store, under load, and check that nothing is lost.

    Args:
        folder: An empty directory.
        kind: The kind of store.
        durable: "fsync" or "no-fsync".
        runs: The number of runs.
        releases: The release of each process that replaces the oldest one.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    deploy = Deploy(folder, kind, durable, runs, random.Random(seed))  # noqa: S311
    try:
        deploy.roll(releases)
        deploy.check()
    except BaseException as error:
        error.add_note(f"the seed of the ends: {seed}")
        raise
    finally:
        deploy.stop_all()
