"""Runs of `engine_flow` that engines execute while their workers are killed, and their checks."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from engine_kills import await_true, share_done
from engine_steps import STEPS, first_states, last_state, make_flow, run_id
from locations import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiocheckpoint import CheckpointFlow

PATIENCE = 100.0
MANY = 20
"""So many kills or more tell how often a step ends twice."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Times:
    """How often the steps of all runs were executed.

    Attributes:
        begun: By run and step, how often it began.
        ended: By run and step, how often it ended.
    """

    begun: Counter[tuple[str, str]]
    ended: Counter[tuple[str, str]]

    @property
    def again(self) -> tuple[int, int]:
        """How many times steps began that had begun before, and ended that had ended before."""
        began, ended = (times.total() - len(times) for times in (self.begun, self.ended))
        return began, ended

    def report(self, kills: int) -> None:
        """Log how many steps were repeated."""
        LOG.info("%d kills: %d steps began again, %d ended again", kills, *self.again)

    def check_repeated(self, kills: int, at_once: int) -> None:
        """Check that few steps were repeated for so many kills, of so many runs in progress each.

        A step ends twice where its worker was killed behind the step and before its snapshot was
        stored. How often that is depends on the disk: docs/reliability.md has the figures.
        """
        self.report(kills)
        began, ended = self.again
        assert ended <= began <= kills * at_once
        if kills >= MANY:
            assert ended <= 0.5 * kills * at_once


@dataclass(frozen=True)
class EngineRuns:
    """So many runs, their store and their log.

    Attributes:
        folder: Where the log is.
        store: The store of the flow.
        count: The number of runs.
        seconds: The least and the most seconds that a step takes.
        options: Options of the flow.
    """

    folder: Path
    store: str
    count: int
    seconds: tuple[float, float] = (0.02, 0.08)
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def log(self) -> Path:
        """The log of the steps."""
        return self.folder / "log"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which processes find the flow, beside its store."""
        seconds = " ".join(map(str, self.seconds))
        return {**flow_environment(self.log, self.options), "ENGINE_SECONDS": seconds}

    def process_environment(self) -> dict[str, str]:
        """Give the environment of a process of this host."""
        return {**os.environ, **self.environment, "ENGINE_STORE": self.store}

    def flow(self) -> CheckpointFlow:
        """Make the flow."""
        return make_flow(self.store, **self.options)

    def submit(self) -> None:
        """Queue all runs."""
        cp = self.flow()
        assert {one.status for one in cp.submit(first_states(self.count))} == {"queued"}
        cp.handler.close()

    def finished(self) -> bool:
        """Whether all runs have finished."""
        cp = self.flow()
        try:
            return cp.count("status")["finished"] == self.count
        finally:
            cp.handler.close()

    def await_share(self, share: float) -> None:
        """Wait until about this share of all steps is done."""
        await_true(lambda: share_done(self.log, self.count) >= share)

    def times(self) -> Times:
        """Count how often each step was executed."""
        lines = [line.split(" ") for line in self.log.read_text("ascii").splitlines()]
        return Times(
            *(
                Counter((run, step) for word, run, step, *_ in lines if word == counted)
                for counted in ("begin", "end")
            )
        )

    def processes(self) -> set[str]:
        """Give the processes that have begun a step."""
        lines = self.log.read_text("ascii").splitlines() if self.log.exists() else []
        return {line.rpartition(" ")[2] for line in lines}

    def check(self, *, late_owners: bool = False) -> Times:
        """Check that each run ended once, in order, with one key for each step.

        Args:
            late_owners: Whether an owner may learn late that it has lost a run. The answer to its
                last snapshot may have been held up for longer than its lease. It then begins one
                step more, which the fence keeps from being stored.
        """
        self._check_stored()
        self._check_order(1 if late_owners else 0)
        times = self.times()
        assert len(times.begun) == len(times.ended) == len(STEPS) * self.count
        return times

    def _check_order(self, most_late: int) -> None:
        keys = defaultdict[tuple[str, str], set[str]](set)
        last, late = dict[str, int](), Counter[tuple[str, str]]()
        for line in self.log.read_text("ascii").splitlines():
            word, run, step, key, process = line.split(" ")
            keys[run, step].add(key)
            if word == "begin" and STEPS.index(step) < last.get(run, 0):
                late[run, process] += 1
                assert late[run, process] <= most_late, f"a stored step runs again: {line}"
            elif word == "begin":
                last[run] = STEPS.index(step)
        assert {len(of_step) for of_step in keys.values()} == {1}, "a step had two keys"
        assert len(set[str]().union(*keys.values())) == len(keys), "two steps had one key"

    def _check_stored(self) -> None:
        cp = self.flow()
        headers = {str(header.run_id): header for header in cp.runs()}
        assert headers.keys() == first_states(self.count).keys()
        assert {(one.status, one.number) for one in headers.values()} == {("finished", 1)}
        for number in range(self.count):
            assert cp.read(run_id(number)) == {**last_state(number), "checkpoint_index": 0}
        cp.handler.close()


def flow_environment(log: Path, options: Mapping[str, object]) -> dict[str, str]:
    """Give the variables by which processes find a flow in tests/programs, beside its store."""
    paths = [str(PROGRAMS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "ENGINE_LOG": str(log),
        "ENGINE_OPTIONS": json.dumps(dict(options)),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _handles_sigterm(pid: int) -> bool:
    """Whether a process has got as far as to handle it, see proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = int(re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@dataclass(frozen=True)
class Host:
    """Where a process is started.

    Attributes:
        store: The store as that host knows it.
        before: The words before a command that is executed there.
    """

    store: str
    before: Sequence[str] = ()


@dataclass
class WorkProcesses:
    """Processes of the command `aiocheckpoint work`, which are killed and started again.

    Attributes:
        output: A file that gets what they say.
        environment: The variables of the flow.
        limit: The most runs that each has at once.
        hosts: Where each is started.
        target: The flow.
        processes: The processes.
    """

    output: Path
    environment: Mapping[str, str]
    limit: int
    hosts: Sequence[Host]
    target: str = "engine_flow:cp"
    processes: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def __enter__(self) -> Self:
        """Start them all."""
        self.processes = [self._start(number) for number in range(len(self.hosts))]
        return self

    def kill(self, number: int) -> None:
        """Kill one, and start another in its place."""
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start(number)

    def drain(self) -> None:
        """End all by SIGTERM, and check that each ends in good order."""
        for process in self.processes:
            await_true(partial(_handles_sigterm, process.pid))
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            assert process.wait(PATIENCE) == 0, self.said()

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        """Kill those that are left."""
        for process in self.processes:
            process.kill()
            process.wait()
        if error is not None:
            error.add_note(f"the workers said:\n{self.said()}")

    def said(self) -> str:
        """Give what all processes have said so far."""
        return self.output.read_text("utf-8")

    def _start(self, number: int) -> subprocess.Popen[str]:
        host = self.hosts[number]
        work = [sys.executable, "-m", "aiocheckpoint", "work", self.target]
        with self.output.open("a", encoding="utf-8") as output:
            return subprocess.Popen(
                [*host.before, *work, "--limit", str(self.limit)],
                env={**os.environ, **self.environment, "ENGINE_STORE": host.store},
                stdout=output,
                stderr=output,
                text=True,
            )
