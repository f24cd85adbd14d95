"""A database that was read-only once, and one with two names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from run_factories import Runs, sql
from support import Runner

from aiocheckpoint import StorageError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX")
SIDE_FILES = ("-wal", "-shm")
LIST = """
import sys
from aiocheckpoint import open_handler
from aiocheckpoint.handlers import Query
print(len(open_handler(sys.argv[1], "sqlite").runs(Query())), flush=True)
if sys.argv[2] == "killed":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def runner() -> Runner:
    """Give one runner, as both open a database in the same way."""
    return Runner("arun")


def stored(database: Runs, runner: Runner) -> None:
    """Leave a stopped run, and close the database."""
    cp = database.flow()
    runner(cp, {"n": 1}, run_id="x", until="a")
    cp.handler.close()


def leave_read_only_files(path: Path) -> None:
    """Make the files beside a database as an earlier release did, when it was read-only."""
    path.chmod(0o400)
    sql(path, "SELECT count(*) FROM runs")
    path.chmod(0o600)
    assert side_modes(path) == {0o400}


def side_modes(path: Path) -> set[int]:
    """The modes of the files beside a database."""
    beside = [path.with_name(path.name + end) for end in SIDE_FILES]
    return {file.stat().st_mode & 0o777 for file in beside if file.exists()}


@pytest.mark.ordinary
@pytest.mark.parametrize("use", ["run", "list", "both"])
def test_read_only_once(use: str, database: Runs, runner: Runner) -> None:
    """A file that was read-only is usable as soon as it is writable, in the same process."""
    stored(database, runner)
    database.path.chmod(0o400)
    cp = database.flow()
    try:
        if use != "run":
            assert [header.run_id for header in runner.do(cp, "runs")] == ["x"]
        if use != "list":
            with pytest.raises(StorageError, match="read-only for this user"):
                runner(cp, run_id="x")
    finally:
        database.path.chmod(0o600)
    assert runner(cp, run_id="x")["n"] == 1
    assert runner(database.flow(), {"n": 2}, run_id="y")["n"] == 2


@pytest.mark.ordinary
@pytest.mark.parametrize("end", ["killed", "ended"])
def test_listed_while_read_only_by_another_process(
    end: str, database: Runs, runner: Runner
) -> None:
    """The files that a reader leaves beside a read-only database stop no later run."""
    stored(database, runner)
    database.path.chmod(0o400)
    command = [sys.executable, "-c", LIST, str(database.path), end]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    database.path.chmod(0o600)
    assert runner(database.flow(), run_id="x")["n"] == 1


@pytest.mark.ordinary
@pytest.mark.leaves_files
def test_files_of_an_earlier_release(database: Runs, runner: Runner) -> None:
    """Files that SQLite has made with the mode of a read-only database get their modes back."""
    stored(database, runner)
    leave_read_only_files(database.path)
    cp = database.flow()
    assert runner(cp, run_id="x", until="b")["n"] == 1
    assert side_modes(database.path) == {0o600}
    assert runner(cp, run_id="x")["n"] == 1


@pytest.mark.ordinary
@pytest.mark.leaves_files
def test_other_permissions_stay(database: Runs, runner: Runner) -> None:
    """The permissions of the group are left as they are, and so is a file that a link names."""
    stored(database, runner)
    database.path.chmod(0o440)
    cp = database.flow()
    assert len(cp.runs()) == 1
    assert side_modes(database.path) == {0o640}
    notes = database.path.with_name("notes")
    notes.touch(0o400)
    linked = Runs(database.path.with_name("linked.db"))
    linked.path.with_name("linked.db-shm").symlink_to(notes)
    with suppress(StorageError):
        runner(linked.flow(), {"n": 1}, run_id="x")
    assert notes.stat().st_mode & 0o777 == 0o400


@pytest.mark.ordinary
def test_file_that_cannot_be_mended_is_named(
    database: Runs, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another user's "-shm" is read-only, the error names it."""
    stored(database, runner)
    leave_read_only_files(database.path)
    shared = database.path.with_name(database.path.name + "-shm")

    def refuse(path: str, mode: int) -> None:  # as for a file of another user
        raise PermissionError(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "chmod", refuse)
        with pytest.raises(StorageError) as info:
            runner(database.flow(), run_id="x")
    assert f"{shared} is read-only for this user" in str(info.value)
    assert runner(database.flow(), run_id="x")["n"] == 1


@pytest.mark.ordinary
def test_directory_that_cannot_be_written_is_named(database: Runs, runner: Runner) -> None:
    """SQLite makes files beside the database, so its directory must be writable."""
    stored(database, runner)
    folder = database.path.parent
    folder.chmod(0o500)
    try:
        with pytest.raises(StorageError) as info:
            runner(database.flow(), run_id="x")
    finally:
        folder.chmod(0o700)
    assert f"{folder} is read-only for this user" in str(info.value)
    assert runner(database.flow(), run_id="x")["n"] == 1


# --- names


@pytest.mark.parametrize("name", ["first", "second"])
def test_two_names(name: str, database: Runs, runner: Runner) -> None:
    """A database with a hard link is refused by either name, and is as it was."""
    stored(database, runner)
    second = database.path.with_name("backup.db")
    os.link(database.path, second)
    before = second.read_bytes()
    flows = database if name == "first" else Runs(second)
    cp = flows.flow(name="runs")
    for act in (
        lambda: runner(cp, {}, run_id="x"),
        lambda: runner.do(cp, "runs"),
        lambda: runner.do(cp, "read", "x"),
    ):
        with pytest.raises(StorageError, match="hard links") as info:
            act()
        assert info.value.path == str(flows.path)
    assert (second.read_bytes(), side_modes(second)) == (before, set())
    second.unlink()
    assert runner(database.flow(), run_id="x")["n"] == 1


def test_symbolic_link_is_the_same_database(database: Runs, runner: Runner) -> None:
    """A symbolic link has no "-wal" of its own."""
    stored(database, runner)
    linked = Runs(database.path.with_name("linked.db"))
    linked.path.symlink_to(database.path)
    cp = linked.flow(name="runs")
    assert runner(cp, run_id="x", until="b")["n"] == 1
    assert side_modes(linked.path) == set()
    assert runner(database.flow(), run_id="x")["n"] == 1


def test_remedy_for_two_names(database: Runs, runner: Runner) -> None:
    """A copy in place of the linked file has one name, and holds everything."""
    stored(database, runner)
    os.link(database.path, database.path.with_name("backup.db"))
    copy = database.path.with_name("copy.db")
    shutil.copyfile(database.path, copy)
    copy.replace(database.path)
    assert runner(database.flow(), run_id="x")["n"] == 1
    assert sql(database.path, "SELECT count(*) FROM runs") == [(1,)]
