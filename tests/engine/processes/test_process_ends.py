"""The process ends in the middle of a run: by a signal, by an exit, or out of memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import process_end_script
import pytest
from kill_checks import needs_fork
from process_end_script import Case
from support import FlowFactory, Runner

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_fork
RUNNERS = ["run", "arun"]
HELD = [("step", "hold"), ("step", "ahold"), ("snapshot", "hold")]
STOPS = [
    ("run", "SIGINT", "nobody"),
    ("run", "SIGTERM", "exit"),
    ("arun", "SIGINT", "nobody"),
    ("arun", "SIGTERM", "exit"),
    ("arun", "SIGTERM", "task"),
]
EXITS = [
    Case(runner, part, operation)
    for runner in RUNNERS
    for part in ("load", "step", "save")
    for operation in ("_exit", "exit")
]
SIGNALS = [
    Case(runner, part, operation, (name,) * times, handling)
    for runner, name, handling in STOPS
    for part, operation in HELD
    for times in (1, 2)
]
KILLS = [Case(runner, *held, ("SIGTERM",)) for runner in RUNNERS for held in HELD]
# Under arun, threads cannot start either when a step holds all memory.
SHORTAGES = [
    Case("run", "step", "hoard"),
    *(Case(runner, "snapshot", "hoard") for runner in RUNNERS),
]
CASES = [*EXITS, *SIGNALS, *KILLS, *(SHORTAGES if sys.platform == "linux" else ())]


def name_of(case: Case) -> str:
    """Give the test id of a case."""
    return "-".join([case.method, case.part, case.operation, *case.signals, case.handling])


@dataclass
class End:
    """How a process ended, and the path of its snapshot.

    Attributes:
        code: The exit code, negative if a signal killed it.
        waited: Whether the process was still running after the signals, before it was released.
        again: Whether the process took a third signal to end.
        said: The last output of the process.
        flows: The factory of flows with this snapshot.
    """

    code: int
    waited: bool
    again: bool
    said: str
    flows: FlowFactory

    def left(self) -> list[str]:
        """Give the names of the files beside the snapshot."""
        names = {path.name for path in self.flows.path.parent.iterdir()}
        return sorted(names - {self.flows.path.name})

    def check_resumes(self, case: Case, position: int) -> None:
        """Check that the next run does the remaining steps, and removes leftover files."""
        stored = self.flows.stored()
        assert (stored["trail"], stored["checkpoint_index"]) == (["a", "b"][:position], position)
        assert ("half" in stored) == (position == 2)
        assert Runner(case.method)(self.flows.flow())["trail"] == ["a", "b", "c"]
        assert self.flows.ran() == ["b", "c"][position - 1 :]
        assert self.left() == []


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, End]:
    """Run every case in a process of its own, and give how each ended."""
    place: Path = tmp_path_factory.mktemp("ends")
    command = [sys.executable, process_end_script.__file__, str(place)]
    cases = json.dumps([asdict(case) for case in CASES])
    done = subprocess.run(command, input=cases, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reported = enumerate(zip(CASES, json.loads(done.stdout), strict=True))
    return {
        case: End(**end, flows=FlowFactory(place / str(number) / "c.pkl"))
        for number, (case, end) in reported
    }


@pytest.mark.parametrize("case", EXITS, ids=name_of)
def test_exit(case: Case, ends: dict[Case, End]) -> None:
    """If any part exits the process, its step is not done, and the exit code is kept."""
    end, header = ends[case], ends[case].flows.header()
    assert end.code == 3
    assert header.status == ("failed" if case.operation == "exit" else "running")
    assert (header.failure and header.failure.part) == (
        case.part if case.operation == "exit" else None
    )
    assert case.operation == "_exit" or end.left() == []
    end.check_resumes(case, 1)


def ways_of(case: Case) -> tuple[set[int], set[str]]:
    """Give the exit codes and statuses that a case may end with, stopped by its signals."""
    twice = len(case.signals) == 2
    default: int = -getattr(signal, case.signals[0])
    code = {"exit": 5, "task": 6}.get(case.handling, default)
    # A handler's SystemExit is a failure in the part that it strikes, and cancels the loop's tasks.
    # If it strikes the writing itself, neither is recorded.
    statuses = {"failed", "cancelled"} if case.handling == "exit" else {"cancelled"}
    unrecorded = twice or (case.handling, case.part) == ("exit", "snapshot")
    # The second signal may arrive when the interpreter has already dropped its handlers.
    return {code, *([default] if twice else [])}, statuses | ({"running"} if unrecorded else set())


@pytest.mark.parametrize("case", SIGNALS, ids=name_of)
def test_signal(case: Case, ends: dict[Case, End]) -> None:
    """A signal ends the process with its own exit code, after its threads. The run resumes.

    A second signal may prevent the record of the first. The run then resumes one snapshot earlier.
    """
    end, header = ends[case], ends[case].flows.header()
    codes, statuses = ways_of(case)
    in_thread = case.method == "arun" and case.operation == "hold"
    assert end.code in codes
    assert header.status in statuses
    assert end.waited or not in_thread
    assert end.left() == [] or end.again
    positions = {2} if in_thread and case.part == "snapshot" else {1}
    assert header.position in positions | ({1} if len(case.signals) == 2 else set())
    end.check_resumes(case, header.position)


@pytest.mark.parametrize("case", KILLS, ids=name_of)
def test_signal_that_nobody_handles(case: Case, ends: dict[Case, End]) -> None:
    """A SIGTERM without a handler kills at once, and the run resumes on entry to its step."""
    end, header = ends[case], ends[case].flows.header()
    assert end.code == -signal.SIGTERM
    assert (header.status, header.position) == ("running", 1)
    end.check_resumes(case, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for its size")
@pytest.mark.parametrize("case", SHORTAGES, ids=name_of)
def test_out_of_memory(case: Case, ends: dict[Case, End]) -> None:
    """A part or a snapshot that takes all memory leaves the snapshot whole, and the lock free.

    The very MemoryError is raised with its note, whether or not memory is left to record it.
    """
    end = ends[case]
    assert end.code == 1
    assert "MemoryError" in end.said
    assert f"aiocheckpoint: step 2 of 3, 'b', broke in its part {case.part!r}" in end.said
    assert end.left() == []
    end.check_resumes(case, 1)
