"""`inspect` and `inspect_all` read any store without its flow, and change nothing in it."""

from __future__ import annotations

import errno
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import Canary, Pieces
from hypothesis import given
from hypothesis import strategies as st
from locations import program
from run_factories import active_run, sql
from simulated_processes import handler_apart, looking, shut_down

from aiocheckpoint import (
    CheckpointFlow,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    StorageError,
    adopt,
    adopt_all,
    inspect,
    inspect_all,
    open_handler,
)
from aiocheckpoint.handlers._files.marks import SETTLED_NANOSECONDS
from aiocheckpoint.handlers._locations import Location, format_location, parse_location
from aiocheckpoint.handlers.local._paths import RunPaths, path_of_flow, run_path
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
from aiocheckpoint.testing._checking import ODD_IDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs

SERVICE = program("file_alone_script.py")
PATIENCE = 60.0
NAMES = {"file": "orders.pkl", "directory": "orders/", "sqlite": "orders.db"}
IDS = ("x", "A/b", "ü" * 200)
DAMAGE = "UPDATE runs SET payload = CAST('x' || substr(payload, 2) AS BLOB)"
by_kind = pytest.mark.parametrize("kind", NAMES)


def make(kind: str, folder: Path, name: str = "orders") -> CheckpointFlow:
    """Make a flow of two steps in a store of a kind."""
    handler = "sqlite" if kind == "sqlite" else "local"
    cp = CheckpointFlow(f"{folder}/{NAMES[kind]}", handler, name=name, fsync=False)
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    return cp


def leave_runs(kind: str, folder: Path) -> CheckpointFlow:
    """Leave three runs behind their first step, in a store that nobody has open."""
    cp = make(kind, folder)
    for run_id in IDS:
        cp.run({"n": 1, "big": "x" * 1000}, run_id=run_id, until="a")
    cp.handler.close()
    return cp


def run_and_break(cp: CheckpointFlow) -> None:
    """Let a run go on until its step raises."""
    with pytest.raises(ConnectionError):
        cp.run(run_id="x")


def settle() -> None:
    """Wait until a change of a file shows in its time."""
    time.sleep(1.2e-9 * SETTLED_NANOSECONDS)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the time of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@by_kind
def test_a_run_and_all(kind: str, tmp_path: Path) -> None:
    """The headers are those of the flow, with sizes. No file is changed, made or deleted."""
    cp = leave_runs(kind, tmp_path)
    settle()
    before, place = content(tmp_path), f"{tmp_path}/{NAMES[kind]}"
    paths: list[str | Path] = [
        place,
        Path(place),
        *([f"sqlite:///{place}"] if kind == "sqlite" else []),
    ]
    for path in paths:
        for run_id in IDS:
            found = inspect(path, run_id=run_id)
            assert found.sizes is not None
            assert found.sizes["big"] == pytest.approx(1000, abs=30)
            assert inspect(path, run_id=run_id, flow="orders") == found
        assert [header.run_id for header in inspect_all(path)] == [*IDS[::-1]]
        assert inspect_all(path, flow="orders") == inspect_all(path)
    for run_id in IDS:
        location = cp.handler.locate(run_id)
        assert inspect(location) == inspect(place, run_id=run_id)
    assert content(tmp_path) == before
    for header in inspect_all(place):
        assert replace(header, sizes=None) == cp.header(header.run_id)
    cp.handler.close()


@by_kind
def test_the_run_without_an_id(kind: str, tmp_path: Path) -> None:
    """Without run_id= it is the run without an id, in every kind of store."""
    cp = make(kind, tmp_path)
    cp.run({"n": 1})
    cp.run({"n": 1}, run_id="x")
    assert inspect(f"{tmp_path}/{NAMES[kind]}").run_id is None
    assert inspect(cp.handler.locate()).run_id is None
    assert {header.run_id for header in inspect_all(f"{tmp_path}/{NAMES[kind]}")} == {None, "x"}
    cp.handler.close()


@by_kind
@pytest.mark.parametrize("run_id", [None, "other"])
def test_no_such_run(kind: str, run_id: str | None, tmp_path: Path) -> None:
    """A healthy store is never called damaged, and nothing is advised that deletes it."""
    leave_runs(kind, tmp_path)
    settle()
    before = content(tmp_path)
    with pytest.raises(StorageError, match="nothing is stored") as info:
        inspect(f"{tmp_path}/{NAMES[kind]}", run_id=run_id)
    for word in ("damage", "delete", "reset"):
        assert word not in str(info.value)
    assert ("inspect_all" in str(info.value)) == (kind != "file")
    assert content(tmp_path) == before


@by_kind
def test_nothing_there(kind: str, tmp_path: Path) -> None:
    """A path at which nothing is makes nothing, and is named."""
    for look in (inspect, inspect_all):
        with pytest.raises(StorageError, match=r"orders.*Is it the path"):
            look(f"{tmp_path}/{NAMES[kind]}")
        with pytest.raises(StorageError, match="Is it the path"):
            look(f"sqlite:///{tmp_path}/orders.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_and_database(tmp_path: Path) -> None:
    """A store without runs has an empty list."""
    (tmp_path / "orders").mkdir()
    handler = handler_apart(tmp_path / "orders.db")
    handler.write({"n": 1}, "x")
    handler.remove("x")
    shut_down(handler)
    assert inspect_all(tmp_path / "orders") == inspect_all(tmp_path / "orders.db") == []


def test_several_flows_in_a_database(tmp_path: Path) -> None:
    """All flows' runs are listed. A run of two flows has to be named with its flow."""
    for name in ("orders", "invoices"):
        cp = make("sqlite", tmp_path, name)
        cp.run({"n": 1}, run_id="x", until="a")
    cp.run({"n": 1}, run_id="only")
    path = tmp_path / "orders.db"
    found = {(header.flow, header.run_id) for header in inspect_all(path)}
    assert found == {("orders", "x"), ("invoices", "x"), ("invoices", "only")}
    assert [header.flow for header in inspect_all(path, flow="orders")] == ["orders"]
    assert inspect(path, run_id="only").flow == "invoices"
    assert inspect(path, run_id="x", flow="orders").flow == "orders"
    assert inspect(cp.handler.locate("x")).flow == "invoices"
    with pytest.raises(InvalidValueError, match=r"'invoices', 'orders'.*flow="):
        inspect(path, run_id="x")


def test_a_database_in_use(database: Runs) -> None:
    """What is committed is seen beside its writer, with the owner, and no file is changed."""
    cp = database.flow("a")
    with active_run(cp, "x"):
        settle()
        before = content(database.path.parent)
        found = inspect(database.path, run_id="x")
        assert (found.status, found.owner) == ("running", cp.runs()[0].owner)
        assert found.owner is not None
        changed = {
            path for path, now in content(database.path.parent).items() if now != before[path]
        }
        assert all(path.endswith("-shm") for path in changed)
    cp.handler.close()


@pytest.mark.leaves_files
def test_beside_and_behind_a_service(tmp_path: Path) -> None:
    """A service's runs are seen while it runs, and when it was killed, from its "-wal"."""
    path = tmp_path / "orders.db"
    command = [sys.executable, str(SERVICE), str(path), "s", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert len(inspect_all(path)) == 20
        process.kill()
    before = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}
    assert len(inspect_all(path)) == 20
    assert {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")} == before


@pytest.mark.ordinary
@pytest.mark.leaves_files
@pytest.mark.parametrize("wal", ["none", "empty", "full"])
def test_without_the_right_to_write(wal: str, tmp_path: Path) -> None:
    """A user who may only read sees everything, from a copy where the "-wal" has commits."""
    folder = tmp_path / "store"
    folder.mkdir()
    writer = handler_apart(tmp_path / "orders.db")
    for number in range(3):
        writer.write({"n": number}, f"{number}")
    ends = ["", "-wal"] if wal == "full" else [""]
    if wal != "full":
        shut_down(writer)
    for end in ends:
        (folder / f"orders.db{end}").write_bytes((tmp_path / f"orders.db{end}").read_bytes())
    if wal == "empty":
        (folder / "orders.db-wal").touch()
    for path in folder.iterdir():
        path.chmod(0o400)
    settle()
    folder.chmod(0o500)
    try:
        assert {header.run_id for header in inspect_all(folder / "orders.db")} == {"0", "1", "2"}
        assert inspect(folder / "orders.db", run_id="1").status == "finished"
        assert len(list(folder.iterdir())) == (1 if wal == "none" else 2)
    finally:
        folder.chmod(0o700)
        shut_down(writer)


@pytest.mark.leaves_files
def test_changed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that somebody begins to write during the read is read again beside the writer."""
    leave_runs("sqlite", tmp_path)
    settle()
    writers: list[SqliteStateHandler] = []
    connect, read = ReadOnlyDatabase.connect, ReadOnlyDatabase.read
    modes: list[str] = []

    def connected(self: ReadOnlyDatabase, mode: str, marks: Any) -> Any:  # noqa: ANN401
        modes.append(mode)
        return connect(self, mode, marks)

    def disturbed(self: ReadOnlyDatabase, work: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401
        def work_slowly(connection: sqlite3.Connection) -> Any:  # noqa: ANN401
            result = work(connection)
            if not writers:
                writers.append(handler_apart(tmp_path / "orders.db", flow="orders"))
                writers[0].write({"n": 2}, "new")
            return result

        return read(self, work_slowly)

    monkeypatch.setattr(ReadOnlyDatabase, "connect", connected)
    monkeypatch.setattr(ReadOnlyDatabase, "read", disturbed)
    assert len(inspect_all(tmp_path / "orders.db")) == 4
    assert modes == ["immutable=1", "mode=ro"]
    shut_down(writers[0])


def test_damaged_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged run is named by `inspect`, and left out of the list with a warning."""
    leave_runs("sqlite", tmp_path)
    path = tmp_path / "orders.db"
    sql(
        path, "UPDATE runs SET payload = CAST('x' || substr(payload, 2) AS BLOB) WHERE run_id = 'x'"
    )
    with pytest.raises(CorruptSnapshotError, match="digest") as info:
        inspect(path, run_id="x")
    assert info.value.path == f"{path} (flow 'orders', run 'x')"
    assert {header.run_id for header in inspect_all(path)} == set(IDS) - {"x"}
    assert "left out" in caplog.text
    sql(path, "UPDATE runs SET footer = (SELECT footer FROM runs WHERE run_id = 'A/b')")
    with pytest.raises(CorruptSnapshotError, match=r"another run|digest"):
        inspect(path, run_id="x")
    leave_runs("directory", tmp_path)
    file = tmp_path / "orders" / "x.pkl"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "orders" / "picture.pkl").write_bytes(b"\x89PNG")
    assert {header.run_id for header in inspect_all(f"{tmp_path}/orders/")} == set(IDS) - {"x"}


def test_other_databases(tmp_path: Path) -> None:
    """Another program's database, one of a later version, and a broken one are named as such."""
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
    with pytest.raises(StorageError, match="another program"):
        inspect_all(path)
    leave_runs("sqlite", tmp_path / "later")
    with looking(tmp_path / "later" / "orders.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(IncompatibleSnapshotError, match="version 99"):
        inspect_all(tmp_path / "later" / "orders.db")
    broken = tmp_path / "broken.db"
    broken.write_bytes(path.read_bytes()[:100] + b"\xff" * 4000)
    with pytest.raises(StorageError, match=r"broken\.db"):
        inspect_all(broken)
    assert broken.stat().st_size == 4100


@by_kind
def test_nothing_is_executed(kind: str, tmp_path: Path) -> None:
    """A hostile payload is looked at, and not loaded."""
    cp = make(kind, tmp_path)
    cp.run({"n": 1}, run_id="x", until="a")
    file = cp.handler.open("x")
    assert file is not None
    with file:
        pieces = Pieces.of(file.read())
    forged = Pieces(pickle.dumps({"a": Canary(tmp_path / "mark")}), pieces.header).joined()
    if kind == "sqlite":
        length = len(pickle.dumps({"a": Canary(tmp_path / "mark")}))
        values = forged[:length], forged[length:]
        with looking(tmp_path / "orders.db") as connection:
            connection.execute("UPDATE runs SET payload = ?, footer = ?", values)
    else:
        Path(cp.handler.locate("x")).write_bytes(forged)
    assert inspect(cp.handler.locate("x")).run_id == "x"
    assert [header.run_id for header in inspect_all(f"{tmp_path}/{NAMES[kind]}")] == ["x"]
    assert not (tmp_path / "mark").exists()
    cp.handler.close()


def test_handlers_of_dicts() -> None:
    """A program's own handler of dicts keeps no snapshots, and says so."""

    class Own:
        """A handler of dicts."""

        def __init__(self, path: str) -> None:
            """Take the path."""

        def read(self) -> dict[str, Any]:
            """Read."""
            return {}

        def write(self, state: dict[str, Any]) -> None:
            """Write."""

    CheckpointFlow.state_handler_constructors["own"] = Own
    try:
        for look in (inspect, inspect_all):
            with pytest.raises(InvalidValueError, match="keeps one dict"):
                look("own://place")
    finally:
        del CheckpointFlow.state_handler_constructors["own"]


@pytest.mark.parametrize("path", [None, 5, b"bytes", "", ["a"]], ids=repr)
def test_bad_arguments(path: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """What is no path, and what is no id, is refused."""
    for look in (inspect, inspect_all):
        with pytest.raises(InvalidTypeError, match="path"):
            look(path)
    with pytest.raises(InvalidTypeError, match="run_id"):
        inspect(tmp_path, run_id=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    leave_runs("sqlite", tmp_path)
    location = SqliteStateHandler(tmp_path / "orders.db", flow="orders").locate("x")
    for other in ({"run_id": "A/b"}, {"flow": "other"}):
        with pytest.raises(InvalidValueError, match="location of one run"):
            inspect(location, **other)


def test_open_handler_knows_a_database(tmp_path: Path) -> None:
    """An existing database needs no scheme. Its path without one makes no file's handler."""
    leave_runs("sqlite", tmp_path)
    handler = open_handler(tmp_path / "orders.db")
    assert isinstance(handler, SqliteStateHandler)
    assert handler.count() == 3
    handler.close()
    assert isinstance(open_handler(tmp_path / "new.db"), LocalStateHandler)
    bad: Any
    for bad in (5, None, b"x", ""):
        with pytest.raises(InvalidTypeError, match="path"):
            open_handler(bad, name="orders")
    with pytest.raises(StorageError, match="is a SQLite database") as info:
        CheckpointFlow(tmp_path / "orders.db")
    assert "make the path usable" not in str(info.value).lower()
    assert len(inspect_all(tmp_path / "orders.db")) == 3


@given(st.text(min_size=1), st.text(), st.none() | st.text(min_size=1))
def test_locations_are_read_back(place: str, flow: str, run_id: str | None) -> None:
    """Whatever the names of flow and run are."""
    place += "/orders.db"
    assert parse_location(format_location(place, flow, run_id)) == Location(place, flow, run_id)
    assert parse_location(place) is None or " (flow " in place


@given(st.sampled_from(ODD_IDS) | st.text(min_size=1, max_size=200))
def test_files_of_runs_are_read_back(run_id: str) -> None:
    """A run's file and its id give the place. The file alone gives an id that is not long."""
    for place in ("/d/c.pkl", "/d/c", "/d/c.b.pkl", "/d/"):
        path = run_path(f"{place}.pkl" if place.endswith("/") else place, run_id)
        assert path_of_flow(path, run_id) == place
        paths = RunPaths(place.rstrip("/"), directory=place.endswith("/"))
        if "~" in Path(path).name:
            with pytest.raises(ValueError, match=r"pkl|c"):
                paths.run_id_of(path)
        else:
            assert paths.run_id_of(path) == run_id
    assert path_of_flow("/d/c.pkl", run_id) in {None, "/d/"}


@by_kind
def test_as_its_flow_shows_it(kind: str, tmp_path: Path) -> None:
    """A run that was claimed to go on is running, with owner and starts, for every reader."""
    cp = leave_runs(kind, tmp_path)
    path, entered, free = f"{tmp_path}/{NAMES[kind]}", threading.Event(), threading.Event()
    again = make(kind, tmp_path)

    @again.add_step(name="b", replace=True)
    def hold(state: dict[str, Any]) -> None:
        entered.set()
        assert free.wait(PATIENCE)
        raise ConnectionError

    thread = threading.Thread(target=run_and_break, args=(again,))
    thread.start()
    assert entered.wait(PATIENCE)
    shown = cp.header("x")
    assert shown is not None
    assert (shown.status, shown.starts) == ("running", 1)
    assert shown.owner is not None
    (listed,) = [header for header in inspect_all(path) if header.run_id == "x"]
    for found in (inspect(path, run_id="x"), inspect(cp.handler.locate("x")), listed):
        assert replace(found, sizes=None) == shown
    free.set()
    thread.join(PATIENCE)
    broken = inspect(path, run_id="x")
    assert (broken.status, broken.owner, broken.starts) == ("failed", None, 1)
    for one in (cp, again):
        one.handler.close()


def test_an_owner_by_a_lease(tmp_path: Path) -> None:
    """Nobody says which kind of lock a store of files has, and the owner is seen all the same."""
    cp = CheckpointFlow(f"{tmp_path}/orders/", lock="lease", fsync=False)
    with active_run(cp, "x"):
        shown = cp.header("x")
        assert shown is not None
        assert shown.owner is not None
        found = inspect(tmp_path / "orders", run_id="x")
        assert (found.owner, found.killed) == (shown.owner, 0)


def test_an_owner_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run is listed, and the log says that its owner is missing."""
    cp = leave_runs("directory", tmp_path)
    (tmp_path / "orders" / ".x.pkl.lock").mkdir()
    assert {header.run_id for header in cp.runs()} == set(IDS)
    assert {header.run_id for header in inspect_all(tmp_path / "orders")} == set(IDS)
    (first, second) = [record.getMessage() for record in caplog.records]
    assert first.startswith("The owner of a listed run cannot be read: ")
    assert first == second
    (tmp_path / "orders" / ".x.pkl.lock").rmdir()


@by_kind
def test_all_takes_no_run(kind: str, tmp_path: Path) -> None:
    """`inspect_all` and `adopt_all` refuse the location of one run, and name what takes it."""
    location = leave_runs(kind, tmp_path).handler.locate("x")
    for function, name in ((inspect_all, "inspect"), (adopt_all, "adopt")):
        with pytest.raises(InvalidValueError, match=rf"one run, 'x', which {name}\(\) takes"):
            function(location)


def test_a_loop_of_links_is_no_database(tmp_path: Path) -> None:
    """A path that cannot be looked at is no database, also while another one is open."""
    cp = leave_runs("sqlite", tmp_path)
    cp.run(run_id="x")
    path = tmp_path / "loop.pkl"
    path.symlink_to(path)
    assert isinstance(open_handler(path), LocalStateHandler)
    with pytest.raises(StorageError, match=r"loop\.pkl"):
        inspect(path)
    cp.handler.close()


def test_a_handler_that_replaces_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's own handler "local" takes the path of a database, for every function."""

    class Own(LocalStateHandler):
        pass

    path = tmp_path / "orders.db"
    leave_runs("sqlite", tmp_path)
    monkeypatch.setitem(CheckpointFlow.state_handler_constructors, "local", Own)
    for act in (open_handler, inspect):
        with pytest.raises(StorageError, match="is a SQLite database"):
            act(path)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc")  # noqa: PTH110
@pytest.mark.parametrize(
    "read",
    [
        inspect,
        inspect_all,
        adopt,
        adopt_all,
        open_handler,
        lambda path: CheckpointFlow(path).header(),
        lambda path: LocalStateHandler(path).header(),
        lambda path: LocalStateHandler(path).read(),
    ],
)
def test_disk_that_does_not_answer(read: Callable[[str], object]) -> None:
    """A file whose first bytes cannot be read, as /proc/self/mem, is an error of the library."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(StorageError) as info:
        read("/proc/self/mem")
    assert info.value.errno == errno.EIO
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
