"""A store is looked into where it is: nothing is written, with or without the right to."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import Canary
from locations import program
from looked_at import KINDS, make_store, place_in
from run_factories import PATIENCE, active_run

from aiocheckpoint import CheckpointFlow, StorageError
from aiocheckpoint.handlers._files.marks import SETTLED_NANOSECONDS
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from run_factories import Runs
    from support import State

SCRIPT = program("looking_script.py")
by_kind = pytest.mark.parametrize("kind", KINDS)
WRITER = """
import sys
from aiocheckpoint import CheckpointFlow, StorageError
cp = CheckpointFlow(sys.argv[1], fsync=False, name="orders", keep=3)
cp.add_step(name="a")(lambda state: None)
cp.add_step(name="b")(lambda state: None)
print("ready", flush=True)
for n in range(int(sys.argv[2])):
    cp.run({"n": n}, run_id=f"order-{n}")
"""


def look(place: str, run_id: str, *secrets: str) -> dict[str, Any]:
    """Look in every way, in a process of its own."""
    # Python writes no bytecode, which counts as written.
    command = [sys.executable, "-B", str(SCRIPT), place, run_id, *secrets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files below a folder, with their times."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def settle() -> None:
    """Wait until the times of the files are certainly past."""
    time.sleep(1.2e-9 * SETTLED_NANOSECONDS)


@by_kind
def test_nothing_is_written_or_executed(kind: str, tmp_path: Path) -> None:
    """No file is opened for writing, made, changed or deleted, and no canary comes true."""
    make_store(tmp_path, kind, keep=3, more={"canary": Canary(tmp_path / "mark")})
    settle()
    before = content(tmp_path)
    found = look(place_in(tmp_path, kind), "order-1")
    assert found["seen"] == []
    assert found["damaged"] == []
    assert found["number"] == 4
    assert content(tmp_path) == before
    assert "mkdir" in json.dumps(found["run"]["keys"])
    assert not (tmp_path / "mark").exists()


@pytest.mark.ordinary
@pytest.mark.leaves_files
@by_kind
def test_without_the_right_to_write(kind: str, tmp_path: Path) -> None:
    """A user who may only read sees all of it."""
    folder = tmp_path / "store"
    folder.mkdir()
    make_store(folder, kind, keep=3)
    paths = [path for path in (folder, *folder.rglob("*")) if not path.name.endswith(".lock")]
    settle()
    for path in reversed(paths):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        found = look(place_in(folder, kind), "order-1")
        assert (found["seen"], found["number"], found["damaged"]) == ([], 4, [])
    finally:
        for path in paths:
            path.chmod(0o700)


@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", ["directory", "database"])
def test_beside_a_live_writer(kind: str, tmp_path: Path) -> None:
    """Lists and counts beside a writing process are sound, and the writer closes as if alone."""
    place, number = place_in(tmp_path, kind), 60
    command = [sys.executable, "-c", WRITER, place, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen, refusals = 0, list[tuple[int | None, int]]()
        while process.poll() is None:
            try:
                store = open_store(place)
            except StorageError as error:
                refusals.append((error.errno, seen))
                continue
            runs = list(store.runs())
            assert [run.damage for run in runs if run.damage] == []
            assert store.count().total >= len(runs) >= seen
            seen = len(runs)
        assert process.returncode == 0
    assert set(refusals) <= {(errno.ENOENT, 0)}  # It had not begun yet.
    assert len(list(open_store(place).verify())) == number
    assert not [path.name for path in tmp_path.rglob("*-owner-*")]


def test_a_run_in_progress_and_a_killed_one(database: Runs) -> None:
    """The owner of a run in progress is shown. In a copy of the files nobody owns it."""
    cp = database.flow("a")
    folder = database.path.parent / "copy"
    with active_run(cp, "x"), open_store(database.path) as store:
        run = store.run("x")
        assert (run.status, run.owner, run.stale) == ("running", cp.runs()[0].owner, False)
        assert run.owner is not None
        folder.mkdir()
        for file in database.path.parent.glob("runs.db*"):
            if "-owner-" not in file.name and not file.name.endswith("-shm"):
                shutil.copyfile(file, folder / file.name)
        copied = open_store(folder / "runs.db").run("x")
        assert (copied.status, copied.owner, copied.stale) == ("running", None, True)
    cp.handler.close()


def test_in_the_process_that_uses_the_database(database: Runs) -> None:
    """A process looks into its own database, whose locks and runs stay as they are."""
    cp = database.flow("a", "b")
    with active_run(cp, "x"):
        for _ in range(3):
            with open_store(database.path) as store:
                assert [run.run_id for run in store.runs()] == ["x"]
                assert store.history("x", keys=True)[0].keys is not None
    assert open_store(database.path).run("x").status == "finished"
    cp.handler.close()


def test_payloads_are_not_read(tmp_path: Path) -> None:
    """A list of runs with large states reads none of them."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("needs /proc/self/io")
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/runs.db", fsync=False)
    cp.add_step(name="a")(lambda state: None)
    for n in range(5):
        cp.run({"large": bytes(4_000_000)}, run_id=f"{n}")
    cp.handler.close()
    settle()

    def bytes_read() -> int:
        return int(counters.read_text("ascii").split()[1])

    store, before = open_store(tmp_path / "runs.db"), bytes_read()
    runs = [*store.runs(), *store.runs(sort="wrote", limit=2), *store.runs(sort="took")]
    flows, counts = store.flows(), store.count(("status", "error", "day"))
    assert bytes_read() - before < 1_000_000
    assert min(run.size for run in runs) > 4_000_000
    assert (flows[0].total, counts.total) == (5, 5)
    assert flows[0].size > 20_000_000


@pytest.mark.ordinary
def test_an_owner_whose_lock_file_may_be_read_alone(tmp_path: Path) -> None:
    """The owner of a run is seen by a user who may not write to its lock file."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", fsync=False)
    started, ended = Event(), Event()

    @cp.add_step()
    def wait(state: State) -> None:
        started.set()
        assert ended.wait(PATIENCE)

    run = Thread(target=cp.run, args=({},), kwargs={"run_id": "x"})
    run.start()
    try:
        assert started.wait(PATIENCE)
        (lock,) = (tmp_path / "runs").glob(".x*.lock")
        lock.chmod(0o400)
        shown = open_store(tmp_path / "runs").run("x")
        lock.chmod(0o600)
        assert shown.owner is not None
        assert not shown.stale
    finally:
        ended.set()
        run.join()
