"""Lock files and temporary files that killed owners leave, and the listings that delete them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from lock_processes import PATIENCE, lock_process

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.handlers._files import leftovers
from aiocheckpoint.handlers._files import lock as lock_module
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers._files.lock_owner import refuse_foreign
from aiocheckpoint.handlers.local import _handler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = needs_fork

KILLED = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers._files.failpoints import armed

def die():
    os.kill(os.getpid(), signal.SIGKILL)

place, moment = sys.argv[1:]
cp = CheckpointFlow(place, name="f")
cp.add_step(name="a")(lambda state: None)
cp.run({}, run_id="x")
if moment == "written":
    with armed("written", die):
        cp.run({}, run_id="x", checkpoint=0)
lock = cp.handler.lock("x")
lock.acquire()
die()
"""
KILLED_AT_THE_END = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.local import LocalStateHandler

place, until = sys.argv[1:]
cp = CheckpointFlow(place, name="f")
cp.add_step(name="a")(lambda state: None)
cp.add_step(name="b")(lambda state: None)
if until == "first":
    cp.run({}, until="a")
else:
    write = LocalStateHandler.write_start
    def die(self, run_id, record, *, lock=None):
        if record is None:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, run_id, record, lock=lock)
    LocalStateHandler.write_start = die
    cp.run()
"""
LISTINGS: dict[str, Callable[[CheckpointFlow], object]] = {
    "runs": lambda cp: cp.runs(),
    "page": lambda cp: cp.runs(limit=1),
    "resume_all": lambda cp: asyncio.run(resume_all(cp)),
    "prune": lambda cp: cp.prune(3600.0),
}


async def resume_all(cp: CheckpointFlow) -> None:
    """Resume all unfinished runs."""
    async for _ in cp.aresume_all():
        pass


def leave(place: str, moment: str) -> None:
    """Let an owner of the run "x" be killed."""
    command = [sys.executable, "-c", KILLED, place, moment]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode < 0


def names(path: Path) -> list[str]:
    """Give the names of the files in a directory."""
    return sorted(one.name for one in path.iterdir())


def make_flow(place: str) -> CheckpointFlow:
    """Make a flow of the same name and step."""
    cp = CheckpointFlow(place, name="f")
    cp.add_step(name="a")(lambda state: None)
    return cp


@pytest.mark.parametrize(
    ("place", "moment", "listing"),
    [
        *(("{}/", "written", listing) for listing in LISTINGS),
        ("{}/", "held", "runs"),
        ("{}/c.pkl", "written", "runs"),
    ],
)
def test_killed_owner_of_a_finished_run(
    place: str, moment: str, listing: str, tmp_path: Path
) -> None:
    """The first listing of its directory deletes the lock file, and a temporary file beside it."""
    where = place.format(tmp_path)
    leave(where, moment)
    kept = [name for name in names(tmp_path) if name.endswith(".pkl")]
    assert len(names(tmp_path)) == len(kept) + (2 if moment == "written" else 1)
    LISTINGS[listing](make_flow(where))
    assert names(tmp_path) == kept


def test_killed_before_the_record_of_its_start_is_deleted(tmp_path: Path) -> None:
    """The next owner deletes the record that a resumed and finished run has left."""
    place = str(tmp_path / "c.pkl")
    for until, code in (("first", 0), ("end", -9)):
        command = [sys.executable, "-c", KILLED_AT_THE_END, place, until]
        assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == code
    assert names(tmp_path) == [".c.pkl.lock", ".c.pkl.start", "c.pkl"]
    make_flow(place).run({})
    assert names(tmp_path) == ["c.pkl"]


@pytest.mark.leaves_files
def test_files_of_others(tmp_path: Path) -> None:
    """Foreign files with such names stay, those of a live owner too, whose run goes on."""
    place = tmp_path / "c.pkl"
    foreign = {".c.x.pkl.lock": "precious", ".d.pkl.lock": "", ".c.pkl.tmp": "", ".d.pkl.0.tmp": ""}
    for name, content in foreign.items():
        (tmp_path / name).write_text(content, encoding="ascii")
    with lock_process(place, "hold", "held") as other:
        (tmp_path / f".c.pkl.{'0' * 16}.tmp").touch()
        before = names(tmp_path)
        assert [header.status for header in CheckpointFlow(place).runs()] == ["running"]
        assert names(tmp_path) == before
        other.send("end")
        assert other.answer() == "ended"
    CheckpointFlow(place).runs()
    assert names(tmp_path) == sorted(["c.pkl", *foreign])


def test_temporary_file_without_a_lock_file(tmp_path: Path) -> None:
    """It belongs to nobody, as each owner has a lock file."""
    cp = make_flow(f"{tmp_path}/")
    cp.run({}, run_id="x")
    (tmp_path / f".x.pkl.{'0' * 16}.tmp").touch()
    cp.runs()
    assert names(tmp_path) == ["x.pkl"]


def test_listing_without_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no lock. Of several pages, the first deletes leftovers."""
    cleared: list[object] = []
    monkeypatch.setattr(_handler, "clear_unowned", lambda *words: cleared.append(words))
    cp = make_flow(f"{tmp_path}/")
    cp.run({}, run_id="x")
    first = cp.runs()
    assert cleared == []
    (tmp_path / ".x.pkl.lock").touch()
    assert cp.runs(after=first[-1]) == []
    assert cleared == []
    assert cp.runs() == first
    assert cleared == [(str(tmp_path), {"x.pkl": [".x.pkl.lock"]}, set())]
    (tmp_path / ".x.pkl.lock").unlink()


def test_no_right_to_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who may not delete lists all the same, as does one beside a cleaner that hangs."""
    monkeypatch.setattr(leftovers, "_TRIES", 3)
    cp = make_flow(f"{tmp_path}/")
    cp.run({}, run_id="x")
    (tmp_path / ".x.pkl.lock").touch()
    with leftovers._cleaning(str(tmp_path)):  # noqa: SLF001
        assert len(cp.runs()) == 1
    assert names(tmp_path) == [".x.pkl.lock", "x.pkl"]
    assert len(cp.runs()) == 1
    assert names(tmp_path) == ["x.pkl"]


def test_run_that_starts_inside_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run waits for a listing that is just deleting its lock file, and so does another one."""
    path, inside, goes_on = tmp_path / ".x.pkl.lock", threading.Event(), threading.Event()

    def pause(descriptor: int, file: str) -> None:
        refuse_foreign(descriptor, file)
        if threading.current_thread() is first and not inside.is_set():
            inside.set()
            assert goes_on.wait(PATIENCE)

    def clear() -> None:
        leftovers.clear_unowned(str(tmp_path), {"x.pkl": [path.name]})

    monkeypatch.setattr(lock_module, "refuse_foreign", pause)
    path.touch()
    lock = FileLock(str(path), "x")
    first, second = threading.Thread(target=clear), threading.Thread(target=clear)
    first.start()
    assert inside.wait(PATIENCE)
    second.start()
    timer = threading.Timer(0.05, goes_on.set)
    timer.start()
    lock.acquire()
    for thread in (first, second, timer):
        thread.join()
    lock.check()
    lock.release()


def test_listings_beside_starting_runs(tmp_path: Path) -> None:
    """No listing takes the lock from a run that starts, or lets it seem to be in progress."""
    handler, over = LocalStateHandler(f"{tmp_path}/"), threading.Event()
    handler.write({}, "x")
    path = f"{tmp_path}/.x.pkl.lock"

    def list_again() -> None:
        while not over.is_set():
            leftovers.clear_unowned(str(tmp_path), {"x.pkl": [".x.pkl.lock"]})

    threads = [threading.Thread(target=list_again) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(400):
            lock = FileLock(path, "x")
            lock.acquire()
            lock.check()
            time.sleep(0.0001 * (number % 3))
            lock.check()
            if number % 2:
                lock.forget()  # Leaves the file, as a kill does.
            else:
                lock.release()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    leftovers.clear_unowned(str(tmp_path), {"x.pkl": [".x.pkl.lock"]})
    assert names(tmp_path) == ["x.pkl"]
