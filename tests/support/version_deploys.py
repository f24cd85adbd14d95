"""Workers of several versions of a flow on one store: deploys under load, and their check."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import versions_script
from killed_workers_script import run_id
from versions_script import STEPS, Worker, first_state, place, work_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint import Header

LOCATIONS = {"sqlite": "sqlite:///{}/runs.db", "directory": "{}/runs/"}
PATIENCE = 120.0
STALLED = 1.5
"""Where the versions that work are all too old for the runs that are left, the next one starts."""


@dataclass
class RunHistory:
    """The history of one run, as the log has it.

    Attributes:
        life: The last process that executed it.
        inside: The step that it is in there, or "".
        ended: The last step that ended, and the process.
        done: The steps acknowledged.
        finished: Whether its end was noted.
        repeated: How often a step that had ended was executed again.
    """

    life: str = ""
    inside: str = ""
    ended: tuple[str, str] = "", ""
    done: list[str] = field(default_factory=list[str])
    finished: bool = False
    repeated: int = 0

    def go_on(self, word: str, step: str, life: str, killed: set[str]) -> None:
        """Check that a line of the log may come next."""
        assert life not in killed, "a killed process goes on"
        match word:
            case "begin":
                self._begin(step, life, killed)
            case "break" | "end":
                assert (life, step) == (self.life, self.inside), "it ends and did not begin"
                self.inside = ""
                self.ended = (step, life) if word == "end" else self.ended
            case "ack":
                assert (step, life) == self.ended, "a step is acknowledged that did not end"
                self.done.append(step)
            case _:
                assert not self.finished, "it ends twice"
                self.finished = True

    def _begin(self, step: str, life: str, killed: set[str]) -> None:
        assert not self.finished, "it goes on behind its end"
        assert not self.inside or self.life in killed, "it is in two processes at once"
        assert work_of(step) not in map(work_of, self.done), "a step runs again that is done"
        if work_of(step) == work_of(self.ended[0]):
            assert self.ended[1] in killed, "a step runs again, and no process was killed"
            self.repeated += 1
        self.life, self.inside = life, step


def read_histories(log: Path) -> tuple[dict[str, RunHistory], set[str]]:
    """Read the log. Give the history of each run, and the processes that were killed."""
    histories, killed = dict[str, RunHistory](), set[str]()
    for number, line in enumerate(log.read_text("ascii").splitlines(), 1):
        word, run, step, life = line.split(" ")
        if word == "kill":
            killed.add(life)
        if run == "-":
            continue
        history = histories.setdefault(run, RunHistory())
        try:
            history.go_on(word, step, life, killed)
        except AssertionError as error:
            error.add_note(f"line {number} of the log: {line}; before: {history}")
            raise
    return histories, killed


def check_trail(trail: list[tuple[str, int]]) -> None:
    """Check that each version did all its steps, from where it took the run over."""
    version, done, position = 0, list[str](), 0
    for step, of in trail:
        assert version <= of, "an older version went on with it"
        if of != version:
            version, position = of, place(of, done)
        assert step == STEPS[version][position], f"{STEPS[version][position]!r} was left out"
        done.append(step)
        position += 1
    assert position == len(STEPS[version]), "its last step was left out"


@dataclass
class Deploys:
    """A store, and the workers of all versions on it.

    Attributes:
        folder: An empty directory.
        kind: The kind of store.
        durable: "fsync" or "no-fsync".
        runs: The number of runs.
        rng: Decides how processes end, and who submits runs.
        working: The processes, the oldest first, each with its number and version.
        started: The number of processes started.
        submitted: The version that each run was submitted by.
        flows: A flow of each version, which runs nothing.
        flow: The newest of them.
    """

    folder: Path
    kind: str
    durable: str
    runs: int
    rng: random.Random
    working: list[tuple[str, int, subprocess.Popen[str]]] = field(
        default_factory=list[tuple[str, int, "subprocess.Popen[str]"]]
    )
    started: int = 0
    submitted: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        (self.folder / "runs").mkdir()
        self.place = LOCATIONS[self.kind].format(self.folder)
        self.log = self.folder / "log"
        self.log.touch()
        fsync = self.durable == "fsync"
        self.flows = {version: Worker(self.place, version, fsync=fsync).flow for version in STEPS}
        self.flow = self.flows[max(STEPS)]

    def start(self, *versions: int) -> None:
        """Start a worker of each version, and wait until they work."""
        for version in versions:
            self.started += 1
            words = self.place, self.log, version, self.started, self.durable
            line = [sys.executable, versions_script.__file__, *map(str, words)]
            process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
            self.working.append((str(self.started), version, process))
        self.wait_for(lambda: self.log.read_text("ascii").count("up - - ") == self.started)

    def wait_for(self, condition: Callable[[], bool], *, stalled: float = PATIENCE) -> None:
        """Wait until a condition is true, or the log has not grown for so many seconds."""
        deadline, grown, size = time.monotonic() + PATIENCE, time.monotonic(), 0
        while not condition() and time.monotonic() < grown + stalled:
            assert time.monotonic() < deadline, "nothing goes on any more"
            for _, _, process in self.working:
                assert process.poll() is None, process.communicate()[1][-10_000:]
            time.sleep(0.005)
            if self.log.stat().st_size != size:
                grown, size = time.monotonic(), self.log.stat().st_size

    def wait_for_lines(self, size: int) -> None:
        """Wait until the log has grown by so many bytes, or no version goes on."""
        size += self.log.stat().st_size
        self.wait_for(lambda: self.log.stat().st_size > size, stalled=STALLED)

    def submit(self, share: float) -> None:
        """Submit runs until there is a share of them all, and repeat a request for each of some.

        Mostly the oldest process does, so that it has some of them when it ends. Sometimes another
        one does, whose version may be older or newer than those that work them off.
        """
        working = [version for _, version, _ in self.working]
        version = working[0] if self.rng.random() < 0.8 else self.rng.choice(working)
        flow = self.flows[version]
        numbers = range(len(self.submitted), round(share * self.runs))
        self.submitted += [version] * len(numbers)
        fresh = {run_id(number): first_state(version, number) for number in numbers}
        for result in flow.submit(fresh):
            assert (result.error, result.status) == (None, "queued")
        again = self.rng.sample(range(len(self.submitted)), len(self.submitted) // 4)
        states = {run_id(one): first_state(self.submitted[one], one) for one in again}
        for result in flow.submit(states, once=True):
            assert result.error is None, result.error

    def end_oldest(self, *, kills: bool) -> None:
        """Kill the oldest process, or let it drain."""
        life, _, process = self.working.pop(0)
        if kills:
            process.send_signal(signal.SIGSTOP)  # No line of it comes behind the next one.
            with self.log.open("a") as log:
                log.write(f"kill - - {life}\n")
            process.kill()
        else:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == (-signal.SIGKILL if kills else 0), said[-10_000:]
        assert not said, said[-10_000:]

    def roll(self, versions: list[int]) -> None:
        """Replace the oldest of two workers by one of each version in turn, and finish the runs.

        The oldest one ends while it and the new one do the runs that were submitted last. The
        first two keep some of these until they end.
        """
        self.start(1, 1)
        kills = [number % 2 == 0 for number in range(len(versions))]
        self.rng.shuffle(kills)
        each = len(STEPS[1]) * 3 * len("begin order-10 check 10\n") * self.runs / len(versions)
        for number, version in enumerate(versions):
            self.submit((number + 1) / len(versions))
            self.wait_for_lines(1)  # The older ones begin, and the new one comes in the middle.
            self.start(version)
            self.wait_for_lines(int(0.7 * self.rng.random() * each))
            self.end_oldest(kills=kills[number])
        self.wait_for(lambda: self.flow.count("status").get("finished") == self.runs)
        while self.working:
            self.end_oldest(kills=False)

    def check(self) -> None:
        """Check the log, and the stored runs."""
        histories, _ = read_histories(self.log)
        wanted = sorted(map(run_id, range(self.runs)))
        assert sorted(histories) == wanted
        headers = self.flow.runs()
        assert sorted(str(header.run_id) for header in headers) == wanted
        for header in headers:
            self._check_run(header, histories[str(header.run_id)])

    def _check_run(self, header: Header, history: RunHistory) -> None:
        """Check one run: ended once, with the steps that were acknowledged."""
        assert (header.status, header.number) == ("finished", 1)
        state = self.flow.read(header.run_id)
        assert state["version"] == header.version
        check_trail(state["trail"])
        trail = [step for step, _ in state["trail"]]
        assert [step for step in trail if step in history.done] == history.done

    def stop_all(self) -> None:
        """Kill what is left."""
        for _, _, process in self.working:
            process.kill()
            process.communicate()


def deploy_versions(
    folder: Path, kind: str, durable: str, runs: int, versions: list[int]
) -> Deploys:
    """Deploy versions one after another on one store, under load, and check that nothing is lost.

    Args:
        folder: An empty directory.
        kind: The kind of store.
        durable: "fsync" or "no-fsync".
        runs: The number of runs.
        versions: The version of each process that replaces the oldest one. The last is 3.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    deploys = Deploys(folder, kind, durable, runs, random.Random(seed))  # noqa: S311
    try:
        deploys.roll(versions)
        deploys.check()
    except BaseException as error:
        error.add_note(f"the seed of the ends: {seed}")
        raise
    finally:
        deploys.stop_all()
    return deploys
