"""Missing handlers, files that are no database of the library, and invalid run ids."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, active_run, resume_all, sql

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    RunInProgressError,
    StorageError,
    UnknownHandlerError,
)
from aiocheckpoint.handlers import _known_handlers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner


def check_words(error: CheckpointError) -> None:
    """Check that an error's text is a sentence, and that the error survives a pickle."""
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there)) == (type(error), str(error))
    assert str(error).endswith(".")


# --- missing handlers


@pytest.mark.parametrize("path", ["mysql://host/db", "ftp://host/key"])
def test_unknown_scheme(path: str) -> None:
    """The error for an unknown scheme names it, the known ones, and how to write them."""
    with pytest.raises(UnknownHandlerError, match="sqlite:///runs") as info:
        CheckpointFlow(path)
    assert info.value.handler == path.partition(":")[0]
    assert info.value.known == ("local", "sqlite", "postgresql", "postgres", "s3", "gs", "az")
    check_words(info.value)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a handler without its extra names the pip command that installs it."""
    entry = _known_handlers._BuiltIn("no_such_module_of_ours", "Handler", extra="postgres")  # noqa: SLF001
    monkeypatch.setitem(_known_handlers._BUILT_IN, "postgres", entry)  # noqa: SLF001
    for ask in (("postgres://host/db", "local"), ("x", "postgres")):
        with pytest.raises(MissingExtraError) as info:
            CheckpointFlow(ask[0], ask[1])
        assert "pip install 'aiocheckpoint[postgres]'" in str(info.value)
        assert (info.value.wanted, info.value.missing) == (
            "the state handler 'postgres'",
            "no_such_module_of_ours",
        )
        assert isinstance(info.value, ImportError)
        check_words(info.value)


def test_python_without_sqlite(tmp_path: Path) -> None:
    """On a Python without sqlite3 every other handler works, and this one's error says so."""
    program = """
import sys
sys.modules["sqlite3"] = sys.modules["_sqlite3"] = None
from aiocheckpoint import CheckpointFlow, MissingExtraError
cp = CheckpointFlow("runs/")
cp.add_step(name="a")(lambda state: None)
cp.run({}, run_id="x")
try:
    CheckpointFlow("sqlite:///runs.db")
except MissingExtraError as error:
    print(error.missing, error.install, error)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("sqlite3 None the state handler 'sqlite' needs")
    assert "'local'" in ended.stdout


# --- files that are no database of the library


def make_tables(path: Path) -> None:
    """Make the database of another program."""
    sql(path, "CREATE TABLE things (a)")


def make_marked(path: Path) -> None:
    """Make an empty database with another program's application id."""
    sql(path, "PRAGMA application_id = 1234")


def make_versioned(path: Path) -> None:
    """Make an empty database with another program's schema version."""
    sql(path, "PRAGMA user_version = 3")


def make_picture(path: Path) -> None:
    """Make a picture."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5_000))


def make_text(path: Path) -> None:
    """Make a text."""
    path.write_text("shopping list\n" * 200, encoding="ascii")


def make_cut(path: Path) -> None:
    """Make a database without its second half."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (a)")
        connection.execute("INSERT INTO things VALUES (zeroblob(50000))")
        connection.commit()
    os.truncate(path, 3_000)


def make_newer(path: Path) -> None:
    """Make a database of a later release."""
    cp = Runs(path).flow()
    cp.run({}, run_id="x", until="a")
    cp.handler.close()  # or it would write when it is collected
    sql(path, "PRAGMA user_version = 99")


STRANGERS: dict[Callable[[Path], None], type[CheckpointError]] = {
    make_tables: StorageError,
    make_marked: StorageError,
    make_versioned: StorageError,
    make_picture: StorageError,
    make_text: StorageError,
    make_cut: StorageError,
    make_newer: IncompatibleSnapshotError,
}
CALLS: dict[str, tuple[Any, ...]] = {
    "runs": (),
    "read": ("x",),
    "reset": (),
    "patch": ({},),
    "delete": ("x",),
    "prune": (0,),
}


@pytest.mark.parametrize(("make", "kind"), STRANGERS.items(), ids=lambda value: value.__name__)
def test_strange_files(
    make: Callable[[Path], None], kind: type[CheckpointError], database: Runs, runner: Runner
) -> None:
    """A foreign file, or one of a later release, is refused and stays byte for byte, alone."""
    make(database.path)
    database.log.clear()
    before, cp = database.path.read_bytes(), database.flow()
    for method, args in CALLS.items():
        with pytest.raises(kind) as info:
            runner.do(cp, method, *args)
        assert str(database.path) in str(info.value)
        check_words(info.value)
    for call in (runner, runner.allowed_plan):
        with pytest.raises(kind):
            call(cp, {}, run_id="x")
    with pytest.raises(kind):
        resume_all(cp)
    assert (database.log, database.path.read_bytes()) == ([], before)
    assert list(database.path.parent.iterdir()) == [database.path]


def test_words_for_strangers(database: Runs, runner: Runner) -> None:
    """The texts distinguish a foreign database, a file of another kind and a later release."""
    words = {make_tables: "another program", make_text: "no SQLite", make_newer: "later release"}
    for make, match in words.items():
        database.path.unlink(missing_ok=True)
        make(database.path)
        with pytest.raises(CheckpointError, match=match):
            runner(database.flow(), {}, run_id="x")
        database.forget()


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "none"])
def test_empty_file_is_as_none(content: bytes | None, database: Runs, runner: Runner) -> None:
    """An empty or missing file is a database without runs."""
    if content is not None:
        database.path.write_bytes(content)
    assert runner.do(database.flow(), "read", "x") == {}
    assert runner(database.flow(), {"n": 1}, run_id="x")["n"] == 1


@pytest.mark.ordinary
def test_read_only_file(database: Runs, runner: Runner) -> None:
    """A read-only file can be listed and read. Runs are refused, and none is lost."""
    runner(database.flow(), {"n": 1}, run_id="x", until="a")
    database.path.chmod(0o400)
    try:
        with pytest.raises(StorageError, match=database.path.name):
            runner(database.flow(), run_id="x")
    finally:
        database.path.chmod(0o600)
    assert runner(database.flow(), run_id="x")["n"] == 1


@pytest.mark.root
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_read_only_for_an_ordinary_user(tmp_path: Path) -> None:
    """Another user's run is refused with the file's name. The owner resumes it afterwards."""
    tmp_path.chmod(0o755)
    flows = Runs.at(tmp_path, "sqlite")
    flows.flow().run({"n": 1}, run_id="x", until="a")
    flows.path.chmod(0o444)
    child = os.fork()
    if child == 0:
        code = 9
        try:
            os.setgid(65534)
            os.setuid(65534)
            flows.flow().run(run_id="x")
        except StorageError as error:
            code = 0 if flows.path.name in str(error) else 1
        except PermissionError:
            code = 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    flows.path.chmod(0o600)
    assert flows.flow().run(run_id="x")["n"] == 1


# --- run ids


@pytest.mark.parametrize(
    ("run_id", "kind"),
    [
        *((run_id, InvalidTypeError) for run_id in (5, b"one", ["one"], True)),
        *((run_id, InvalidValueError) for run_id in ("", "x" * 1_001, "é" * 10_000)),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_ids_that_are_none(
    run_id: Any,  # noqa: ANN401
    kind: type[CheckpointError],
    database: Runs,
    runner: Runner,
) -> None:
    """Every method refuses an invalid id by name, and nothing is made or lost."""
    cp = database.flow()
    runner(cp, {"n": 1}, run_id="x", until="a")
    database.log.clear()
    for act in (
        lambda: runner(cp, {}, run_id=run_id),
        lambda: runner.allowed_plan(cp, run_id=run_id),
        lambda: runner.do(cp, "read", run_id),
        lambda: runner.do(cp, "patch", {}, run_id=run_id),
        lambda: runner.do(cp, "reset", run_id=run_id),
        lambda: runner.do(cp, "delete", run_id),
    ):
        with pytest.raises(kind, match="run_id") as info:
            act()
        assert len(str(info.value)) < 200
        check_words(info.value)
    assert (database.log, [one.run_id for one in cp.runs()]) == ([], ["x"])


def test_error_during_a_run(database: Runs) -> None:
    """The error names the process that owns the run, and survives a pickle."""
    with active_run(database.empty_flow(), "x"), pytest.raises(RunInProgressError) as info:
        database.flow().run(run_id="x")
    assert info.value.pid == os.getpid()
    assert None not in {info.value.host, info.value.since}
    check_words(info.value)
