"""The costs of a step in counts: system calls, thread hops, pickles and commits."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from batch_harness import BatchHarness
from locations import program
from support import Runner, State
from tracing import needs_strace, trace

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._snapshot import codec
from aiocheckpoint._snapshot.footer import TRAILER_BYTES
from aiocheckpoint._snapshot.header_json import encode_header
from aiocheckpoint._snapshot.payload import position_added
from aiocheckpoint._snapshot.pickling import serializer
from aiocheckpoint.events import Event, SnapshotWritten
from aiocheckpoint.handlers.leased._requests import Claim, Release
from aiocheckpoint.handlers.sqlite import _open_files, _session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from aiocheckpoint._concurrency.work_items import WorkItem

SCRIPT = program("step_count_script.py")
LOCATIONS = {"local": "{}/runs/", "sqlite": "sqlite:///{}/runs.db"}
MORE = ("newfstatat", "flock", "fcntl", "lseek", "read", "pread64", "pwrite64", "ftruncate")
FEW, MANY = 3, 13

FILE = {"newfstatat": 2, "openat": 1, "write": 1, "close": 1}
# The two looks of newfstatat are for the file, and for its lock file: the fence.
DIRECTORY = {"openat": 1, "fsync": 1, "close": 1}
ROW = {"newfstatat": 1, "lseek": 2, "fcntl": 6, "pwrite64": 2}  # one page of the log, and its head
EXPECTED = {
    ("local", "fsync"): Counter(FILE) + Counter({"fsync": 1, "rename": 1}) + Counter(DIRECTORY),
    ("local", "no-fsync"): Counter(FILE) + Counter({"renameat2": 1, "unlink": 1}),
    ("sqlite", "fsync"): Counter(ROW) + Counter({"fdatasync": 1}),
    ("sqlite", "no-fsync"): Counter(ROW),
}


def counted(tmp_path: Path, kind: str, runner: str, steps: int, *options: str) -> Counter[str]:
    """Count the system calls of one run on its directory, by name."""
    place = tmp_path / f"{kind}-{steps}"
    place.mkdir()
    words = [SCRIPT, LOCATIONS[kind].format(place), runner, steps, *options]
    traced = trace(words, tmp_path / "strace.log", more=MORE)
    assert traced.status == 0, traced.stderr
    return Counter(call.name for call in traced.on(place))


@needs_strace
@pytest.mark.strace
@pytest.mark.parametrize("fsync", ["fsync", "no-fsync"])
@pytest.mark.parametrize("kind", LOCATIONS)
@pytest.mark.parametrize("runner", ["run", "arun"])
def test_system_calls_of_a_step(runner: str, kind: str, fsync: str, tmp_path: Path) -> None:
    """Ten more steps make ten times these calls more, and no others."""
    few, many = (counted(tmp_path, kind, runner, steps, fsync) for steps in (FEW, MANY))
    many.subtract(few)
    each = {name: number / (MANY - FEW) for name, number in many.items() if number}
    assert each == EXPECTED[kind, fsync]


class Counts:
    """Counts thread hops and pickles of runs in this process.

    Attributes:
        hops: Functions called in threads.
        dumps: How each state was pickled.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Start counting."""
        self.hops = 0
        self.dumps: list[str] = []
        put, here = DaemonThreads.put, threading.get_ident()

        def counted_put(threads: DaemonThreads, item: WorkItem[Any]) -> None:
            # Threads of earlier tests may close what they have kept open.
            self.hops += threading.get_ident() == here
            put(threads, item)

        patch.setattr(DaemonThreads, "put", counted_put)
        for module, name in (
            (codec, "dump_small"),
            (codec, "dump"),
            (serializer, "ByValuePickler"),
        ):
            self._count(patch, module, name)

    def _count(self, patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
        plain: Callable[..., Any] = getattr(module, name)

        def counted(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            self.dumps.append(name)
            return plain(*args, **options)

        patch.setattr(module, name, counted)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count during the test."""
    return Counts(monkeypatch)


def make_flow(place: str, steps: int, kind: str = "async", **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of so many sync or async steps."""

    async def coroutine(state: State) -> None:
        state["n"] += 1

    def function(state: State) -> None:
        state["n"] += 1

    cp = CheckpointFlow(place, fsync=False, **options)
    for number in range(steps):
        cp.add_step(name=f"step {number}")(coroutine if kind == "async" else function)
    return cp


# Of a run on files: taking the lock, finding nothing, the start, and releasing the lock.
HOPS = {
    ("run", "local", "async"): (0, 0),
    ("run", "local", "sync"): (0, 0),
    ("run", "sqlite", "async"): (0, 0),
    ("run", "sqlite", "sync"): (0, 0),
    ("arun", "local", "async"): (4, 1),
    ("arun", "local", "sync"): (4, 2),
    ("arun", "sqlite", "async"): (0, 0),
    ("arun", "sqlite", "sync"): (0, 1),
}


@pytest.mark.parametrize(("runner", "place", "kind"), HOPS, ids=" ".join)
def test_hops(runner: str, place: str, kind: str, counts: Counts, tmp_path: Path) -> None:
    """A run makes this number of thread hops, and each of its steps this number more."""
    asyncio.run(make_flow(f"{tmp_path}/first/", 1).arun({"n": 0}, run_id="x"))  # anyio is imported
    gc.collect()  # Finalizers of earlier tests may call threads as well.
    counts.hops = 0
    cp = make_flow(LOCATIONS[place].format(tmp_path), MANY, kind)
    Runner(runner)(cp, {"n": 0}, run_id="x")
    once, each = HOPS[runner, place, kind]
    assert counts.hops == once + each * MANY


@pytest.mark.parametrize("place", LOCATIONS)
def test_pickles(place: str, runner: Runner, counts: Counts, tmp_path: Path) -> None:
    """The C pickler pickles each snapshot once: one for each step, and the start."""
    runner(make_flow(LOCATIONS[place].format(tmp_path), MANY), {"n": 0}, run_id="x")
    assert counts.dumps == ["dump_small"] * (MANY + 1)


def test_bytes(runner: Runner, tmp_path: Path) -> None:
    """A snapshot consists of its payload, its header and a trailer of fixed length."""
    reported: list[SnapshotWritten] = []

    def hook(event: Event) -> None:
        if isinstance(event, SnapshotWritten):
            reported.append(event)

    cp = make_flow(f"{tmp_path}/c.pkl", 1, hooks=[hook])
    runner(cp, {"n": 0})
    content, header = (tmp_path / "c.pkl").read_bytes(), cp.header()
    assert header is not None
    payload = len(pickle.dumps({"n": 1}, 5)) - 1 + len(position_added(0))  # in place of its STOP
    expected = payload + len(encode_header(header)) + TRAILER_BYTES
    assert len(content) == reported[-1].bytes == expected


@pytest.mark.parametrize("runs", [1, 100])
def test_statements_of_a_batch(runs: int, tmp_path: Path) -> None:
    """A hundred waiting runs are claimed in one transaction, and each step is one more."""
    harness, statements = BatchHarness(str(tmp_path)), list[str]()
    connection = harness.connection
    connection.set_trace_callback(statements.append)
    harness.leases = {(name := f"run {number}"): harness.lease(name) for number in range(runs)}
    harness.apply(
        [PendingResult(Claim(lease.record, None), None) for lease in harness.leases.values()]
    )
    claims = [words.split()[0] for words in statements]
    statements.clear()
    jobs = harness.apply([harness.job("running", run_id, 1) for run_id in harness.leases])
    connection.set_trace_callback(None)
    harness.close()
    assert [job.error for job in jobs] == [None] * runs
    assert claims == ["BEGIN", "INSERT", "SELECT", "COMMIT"]
    assert len(statements) == 1  # in autocommit mode, its own transaction


@pytest.mark.parametrize(("runs", "looks"), [(1, 5), (63, 5), (64, 2)])
def test_looks_for_the_file(
    runs: int, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch looks at the directory, large ones every tenth of a second.

    One that comes later than that looks before its commit as well.
    """
    harness, seen = BatchHarness(str(tmp_path)), list[str]()
    harness.leases = {(name := f"run {number}"): harness.lease(name) for number in range(runs)}
    harness.apply(
        [PendingResult(Claim(lease.record, None), None) for lease in harness.leases.values()]
    )
    os.utime(tmp_path, (1, 1))  # Nothing has changed in it for long.
    session = harness.transactions._session  # noqa: SLF001
    assert session is not None
    session._opened.files.check()  # noqa: SLF001
    real = _open_files._look  # noqa: SLF001

    def look(path: str) -> os.stat_result | None:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(_open_files, "_look", look)
    monkeypatch.setattr(_session, "_SECONDS_BETWEEN_CHECKS", 3600.0)
    session._next_check = time.monotonic() + 3600.0  # noqa: SLF001
    for number in range(1, 5):
        session._next_check -= 3600.0 if number == 3 else 0.0  # noqa: SLF001
        jobs = harness.apply([harness.job("running", run_id, number) for run_id in harness.leases])
        assert [job.error for job in jobs] == [None] * runs
    found = seen[:]
    harness.close()
    assert found == [str(tmp_path)] * looks


def test_statements_of_new_runs(tmp_path: Path) -> None:
    """New runs are claimed and their starts stored in one statement. Known ones take four more."""
    harness, statements = BatchHarness(str(tmp_path)), list[str]()
    connection = harness.connection
    connection.set_trace_callback(statements.append)
    for expected in (["INSERT"], ["INSERT", "BEGIN", "INSERT", "SELECT", "COMMIT"]):
        statements.clear()
        leases = [
            job.request.lease for job in harness.apply([harness.job("begin", x, 1) for x in "xy"])
        ]
        assert [words.split()[0] for words in statements] == expected
        stored = "SELECT id, token FROM runs WHERE run_id IN ('x', 'y') ORDER BY run_id"
        held = [(lease.row, lease.token) for lease in leases]
        assert connection.execute(stored).fetchall() == held
        harness.apply([PendingResult(Release.of(lease, lease.token), None) for lease in leases])
    connection.set_trace_callback(None)
    harness.close()
