"""What a step costs in calls, on every machine the same: system calls, hops, pickles, commits."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from desks import Desk
from locations import program
from support import Door, State
from tracing import needs_strace, trace

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._snapshot import codec
from aiocheckpoint._snapshot.footer import TRAILER_BYTES
from aiocheckpoint._snapshot.payload import position_added
from aiocheckpoint._snapshot.pickling import serializer
from aiocheckpoint.events import Event, SnapshotWritten
from aiocheckpoint.handlers.sqlite import _transactions
from aiocheckpoint.handlers.sqlite._requests import Claim, Release
from aiocheckpoint.handlers.sqlite._schema import file_identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from aiocheckpoint._concurrency.work_items import WorkItem

SCRIPT = program("counted_script.py")
PLACES = {"local": "{}/runs/", "sqlite": "sqlite:///{}/runs.db"}
MORE = ("newfstatat", "flock", "fcntl", "lseek", "read", "pread64", "pwrite64", "ftruncate")
FEW, MANY = 3, 13

FILE = {"newfstatat": 1, "openat": 1, "write": 1, "close": 1}
DIRECTORY = {"openat": 1, "fsync": 1, "close": 1}
ROW = {"newfstatat": 1, "fcntl": 6, "pwrite64": 2}  # one page of the log, and its head
EXPECTED = {
    ("local", "fsync"): Counter(FILE) + Counter({"fsync": 1, "rename": 1}) + Counter(DIRECTORY),
    ("local", "no-fsync"): Counter(FILE) + Counter({"renameat2": 1, "unlink": 1}),
    ("sqlite", "fsync"): Counter(ROW) + Counter({"fdatasync": 1}),
    ("sqlite", "no-fsync"): Counter(ROW),
}


def counted(tmp_path: Path, kind: str, door: str, steps: int, *options: str) -> Counter[str]:
    """Count the system calls on the place of one run, by name."""
    place = tmp_path / f"{kind}-{steps}"
    place.mkdir()
    words = [SCRIPT, PLACES[kind].format(place), door, steps, *options]
    traced = trace(words, tmp_path / "strace.log", more=MORE)
    assert traced.status == 0, traced.stderr
    return Counter(call.name for call in traced.on(place))


@needs_strace
@pytest.mark.strace
@pytest.mark.parametrize("fsync", ["fsync", "no-fsync"])
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("door", ["run", "arun"])
def test_system_calls_of_a_step(door: str, kind: str, fsync: str, tmp_path: Path) -> None:
    """Ten steps more take ten times these calls more, and no other."""
    few, many = (counted(tmp_path, kind, door, steps, fsync) for steps in (FEW, MANY))
    many.subtract(few)
    each = {name: number / (MANY - FEW) for name, number in many.items() if number}
    assert each == EXPECTED[kind, fsync]


class Counts:
    """Counts what is done in this process for a run.

    Attributes:
        hops: Functions that threads were asked to call.
        dumps: How each state was pickled.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Count from now on."""
        self.hops = 0
        self.dumps: list[str] = []
        put = DaemonThreads.put

        def counted_put(threads: DaemonThreads, item: WorkItem[Any]) -> None:
            self.hops += 1
            put(threads, item)

        patch.setattr(DaemonThreads, "put", counted_put)
        for module, name in (
            (codec, "dump_small"),
            (codec, "dump"),
            (serializer, "_DillPickler"),
        ):
            self._count(patch, module, name)

    def _count(self, patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
        plain: Callable[..., Any] = getattr(module, name)

        def counted(*args: Any) -> Any:  # noqa: ANN401
            self.dumps.append(name)
            return plain(*args)

        patch.setattr(module, name, counted)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count what the test does."""
    return Counts(monkeypatch)


def make_flow(place: str, steps: int, kind: str = "async", **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of so many steps, sync or async ones."""

    async def coroutine(state: State) -> None:
        state["n"] += 1

    def function(state: State) -> None:
        state["n"] += 1

    cp = CheckpointFlow(place, fsync=False, **options)
    for number in range(steps):
        cp.add_step(name=f"step {number}")(coroutine if kind == "async" else function)
    return cp


# Of a run on files: taking the lock, finding nothing, the start, and giving the lock back.
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


@pytest.mark.parametrize(("door", "place", "kind"), HOPS, ids=" ".join)
def test_hops(door: str, place: str, kind: str, counts: Counts, tmp_path: Path) -> None:
    """Threads are asked as often as this for a run, and for each of its steps."""
    asyncio.run(make_flow(f"{tmp_path}/first/", 1).arun({"n": 0}, run_id="x"))  # anyio is imported
    counts.hops = 0
    cp = make_flow(PLACES[place].format(tmp_path), MANY, kind)
    Door(door)(cp, {"n": 0}, run_id="x")
    once, each = HOPS[door, place, kind]
    assert counts.hops == once + each * MANY


@pytest.mark.parametrize("place", PLACES)
def test_pickles(place: str, door: Door, counts: Counts, tmp_path: Path) -> None:
    """Each snapshot is pickled once, by the C pickler: one for each step, and the start."""
    door(make_flow(PLACES[place].format(tmp_path), MANY), {"n": 0}, run_id="x")
    assert counts.dumps == ["dump_small"] * (MANY + 1)


def test_bytes(door: Door, tmp_path: Path) -> None:
    """A snapshot has the bytes of its payload, its header and a trailer of one length."""
    told: list[SnapshotWritten] = []

    def hook(event: Event) -> None:
        if isinstance(event, SnapshotWritten):
            told.append(event)

    cp = make_flow(f"{tmp_path}/c.pkl", 1, hooks=[hook])
    door(cp, {"n": 0})
    content, header = (tmp_path / "c.pkl").read_bytes(), cp.header()
    assert header is not None
    payload = len(pickle.dumps({"n": 1}, 5)) - 1 + len(position_added(0))  # in place of its STOP
    assert len(content) == told[-1].bytes == payload + len(header.encode()) + TRAILER_BYTES


@pytest.mark.parametrize("runs", [1, 100])
def test_statements_of_a_batch(runs: int, tmp_path: Path) -> None:
    """A hundred runs that wait have their leases in one transaction, and each step in another."""
    desk, statements = Desk(str(tmp_path)), list[str]()
    connection = desk.transactions._open(0)  # noqa: SLF001
    connection.set_trace_callback(statements.append)
    desk.leases = {(name := f"run {number}"): desk.lease(name) for number in range(runs)}
    desk.apply([PendingResult(Claim(lease, None), None) for lease in desk.leases.values()])
    claims = [words.split()[0] for words in statements]
    statements.clear()
    jobs = desk.apply([desk.job("running", run_id, 1) for run_id in desk.leases])
    connection.set_trace_callback(None)
    desk.close()
    assert [job.error for job in jobs] == [None] * runs
    assert claims == ["BEGIN", "INSERT", "SELECT", "COMMIT"]
    assert len(statements) == 1  # which is a transaction of its own


@pytest.mark.parametrize(("runs", "looks"), [(1, 4), (63, 4), (64, 1)])
def test_looks_for_the_file(
    runs: int, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every batch looks whether the file is there; of large ones, each tenth of a second one."""
    desk, seen = Desk(str(tmp_path)), list[str]()
    desk.leases = {(name := f"run {number}"): desk.lease(name) for number in range(runs)}
    desk.apply([PendingResult(Claim(lease, None), None) for lease in desk.leases.values()])

    def look(path: str) -> tuple[int, int] | None:
        seen.append(path)
        return file_identity(path)

    monkeypatch.setattr(_transactions, "file_identity", look)
    monkeypatch.setattr(_transactions, "_SECONDS_BETWEEN_LOOKS", 3600.0)
    for number in range(1, 5):
        desk.transactions._looked -= 3600.0 if number == 3 else 0.0  # noqa: SLF001
        jobs = desk.apply([desk.job("running", run_id, number) for run_id in desk.leases])
        assert [job.error for job in jobs] == [None] * runs
    desk.close()
    assert len(seen) == looks


def test_statements_of_new_runs(tmp_path: Path) -> None:
    """New runs are claimed, and their starts stored, in one statement; known ones in four."""
    desk, statements = Desk(str(tmp_path)), list[str]()
    connection = desk.transactions._open(0)  # noqa: SLF001
    connection.set_trace_callback(statements.append)
    for expected in (["INSERT"], ["INSERT", "BEGIN", "INSERT", "SELECT", "COMMIT"]):
        statements.clear()
        leases = [job.work.lease for job in desk.apply([desk.job("begin", x, 1) for x in "xy"])]
        assert [words.split()[0] for words in statements] == expected
        stored = "SELECT id, token FROM runs WHERE run_id IN ('x', 'y') ORDER BY run_id"
        held = [(lease.row, lease.token) for lease in leases]
        assert connection.execute(stored).fetchall() == held
        desk.apply([PendingResult(Release(*one), None) for one in held])
    connection.set_trace_callback(None)
    desk.close()
