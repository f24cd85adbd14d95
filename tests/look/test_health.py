"""What `check_store` finds in real stores, and that it finds nothing in sound ones."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stored_runs import queue_run

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._snapshot import versions
from aiocheckpoint.look import (
    FindingView,
    Store,
    _file_systems,
    _health,
    check_store,
    open_store,
    store_of,
)
from aiocheckpoint.look._places import place_of
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

State = dict[str, Any]
Queue = Callable[[CheckpointFlow, str], None]
PLACES = {"database": "orders.db", "directory": "orders/", "file": "orders.pkl"}
KILLED = """
import os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="orders", fsync=False)
@cp.add_step()
def charge(state):
    os._exit(9)
cp.run({}, run_id="order-1")
"""


class BrokenError(Exception):
    """A step fails."""


@pytest.fixture(autouse=True)
def mounts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of mounts without any, which tests write to."""
    table = tmp_path_factory.mktemp("mounts") / "mountinfo"
    table.write_text("")
    monkeypatch.setattr(_file_systems, "_TABLE", str(table))
    return table


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A directory that every user of the machine can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder, "orders")
        path.mkdir()
        Path(folder).chmod(0o755)
        path.chmod(0o755)
        yield path


@pytest.fixture
def queue_by_python_3_4() -> Queue:
    """Stores a queued run as Python 3.4 would."""

    def queue(cp: CheckpointFlow, run_id: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(versions, "PYTHON_VERSION", "3.4.1")
            patch.setitem(vars(versions)["_VERSIONS"], "python", "3.4.1")
            queue_run(cp, run_id, {})

    return queue


def place_in(folder: Path, kind: str) -> str:
    """The target of a store in a folder."""
    return f"{'sqlite:///' * (kind == 'database')}{folder}/{PLACES[kind]}"


def make_flow(place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """A flow of one step that keeps what it is given."""
    cp = CheckpointFlow(place, name="orders", fsync=False, **options)

    @cp.add_step()
    def keep(state: State) -> None:
        if state.get("by value"):
            state["function"] = eval("lambda: 1")  # noqa: S307
        if state.get("fails"):
            raise BrokenError

    return cp


def found(place: str) -> list[FindingView]:
    """What is found in a store."""
    with open_store(place) as store:
        return list(check_store(store))


def kinds(place: str) -> list[str]:
    """The kinds of what is found."""
    return [one.kind for one in found(place)]


@pytest.mark.parametrize("kind", PLACES)
def test_sound_stores(kind: str, tmp_path: Path) -> None:
    """Nothing is found in a store of finished, queued and failed runs."""
    cp = make_flow(place_in(tmp_path, kind))
    cp.run({}, run_id="order-1")
    cp.submit({}, run_id="order-2")
    with pytest.raises(BrokenError):
        cp.run({"fails": True}, run_id="order-3")
    assert found(cp.handler.path) == []


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("tmpfs x rw", ["durability"]),
        ("overlay x rw", ["durability"]),
        ("ext4 x rw,nobarrier", ["durability"]),
        ("nfs4 x rw", ["network"]),
        ("ext4 x rw,relatime", []),
    ],
)
def test_file_systems(
    kind: str, mount: str, expected: list[str], tmp_path: Path, mounts: Path
) -> None:
    """A place in memory, in a container's layer, without barriers, or on a network is named."""
    mounts.write_text(f"1 0 0:1 / {os.path.realpath(tmp_path)} rw - {mount}\n")
    system = mount.split(maxsplit=1)[0]
    place = place_in(tmp_path, kind)
    make_flow(place).run({}, run_id="order-1")
    findings = found(place)
    assert [one.kind for one in findings] == expected
    for one in findings:
        assert one.problem.startswith(str(tmp_path))
        assert system in one.problem
        assert ("lock='lease'" in one.remedy) == (system == "nfs4" and kind != "database")


@pytest.mark.skipif(os.name == "nt", reason="rights are those of POSIX")
@pytest.mark.parametrize("kind", PLACES)
def test_rights(kind: str, shared_folder: Path, tmp_path: Path) -> None:
    """Files that every user may read or write are found, where every user can reach them."""
    for folder, expected in (
        (shared_folder, ["readable", "writable"]),
        (tmp_path / "private" / "orders", []),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(0o755 if expected else 0o700)
        folder.chmod(0o755)
        place = place_in(folder, kind)
        cp = make_flow(place)
        cp.run({}, run_id="order-1")
        if kind == "directory":
            (folder / "orders").chmod(0o755)
        assert found(place) == []
        file = folder / "orders.db" if kind == "database" else Path(cp.handler.locate("order-1"))
        file.chmod(0o606)
        assert kinds(place) == expected
        file.chmod(0o600)


@pytest.mark.skipif(os.name == "nt", reason="rights are those of POSIX")
def test_a_directory_for_all(shared_folder: Path) -> None:
    """A directory in which every user may replace files is found, and one as /tmp is not."""
    place = f"{shared_folder}/"
    make_flow(place).run({}, run_id="order-1")
    shared_folder.chmod(0o777)
    (finding,) = found(place)
    assert (finding.kind, finding.count) == ("writable", 1)
    assert "'orders'" in finding.problem
    shared_folder.chmod(0o1777)
    assert found(place) == []


@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", PLACES)
def test_a_killed_run(kind: str, tmp_path: Path) -> None:
    """A run whose process was killed is found, with its id."""
    place = place_in(tmp_path, kind)
    done = subprocess.run([sys.executable, "-c", KILLED, place], check=False)
    assert done.returncode == 9
    (finding,) = found(place)
    assert (finding.kind, finding.count, finding.runs) == ("stale", 1, ("order-1",))
    assert finding.problem == "1 run of 'orders' has an owner that is gone: 'order-1'."


@pytest.mark.parametrize("kind", PLACES)
def test_code_and_other_pythons(kind: str, tmp_path: Path, queue_by_python_3_4: Queue) -> None:
    """Functions by value are found, and unfinished runs of another minor version of Python."""
    place = place_in(tmp_path, kind)
    cp = make_flow(place)
    for number in range(5):
        cp.run({"by value": True}, run_id=f"code-{number}")
    queue_by_python_3_4(cp, "old")
    cp.run({}, run_id="new")
    code, python = found(place)
    assert (code.kind, code.count, len(code.runs)) == ("code", 5, 3)
    assert code.problem.endswith(" and 2 more.")
    assert (python.kind, python.runs) == ("python", ("old",))
    assert "1 unfinished run of 'orders' was written by Python 3.4" in python.problem


@pytest.mark.parametrize("kind", PLACES)
def test_large_states(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large snapshots are found, the largest first, with the key that is large."""
    assert _health.LARGE_BYTES == 10_000_000
    monkeypatch.setattr(_health, "LARGE_BYTES", 1_000_000)
    place = place_in(tmp_path, kind)
    cp = make_flow(place)
    for size in (990_000, 1_100_000, 1_200_000):
        cp.run({"small": b"x", "bitmap": bytes(size)}, run_id=f"run-{size}")
    (finding,) = found(place)
    assert (finding.kind, finding.count) == ("large", 2)
    assert finding.runs == ("run-1200000", "run-1100000")
    assert "'run-1200000' 1.2 MB, of which 'bitmap' 1.2 MB" in finding.problem


def test_a_large_run_that_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be deleted between the look at its header and that at its state."""
    monkeypatch.setattr(_health, "LARGE_BYTES", 1_000)
    place = place_in(tmp_path, "directory")
    cp = make_flow(place)
    cp.run({"bitmap": bytes(2_000)}, run_id="order-1")

    look = Store.run

    def delete_and_look(store: Store, run_id: str | None, **options: Any) -> object:  # noqa: ANN401
        cp.delete(run_id or "")
        return look(store, run_id, **options)

    monkeypatch.setattr(Store, "run", delete_and_look)
    (finding,) = found(place)
    assert finding.problem.endswith("anew: 'order-1' 0.0 MB.")


@pytest.mark.parametrize("kind", PLACES)
def test_temporary_files(kind: str, tmp_path: Path) -> None:
    """Temporary files of killed writers are found, and none of one that may be writing."""
    place = place_in(tmp_path, kind)
    cp = make_flow(place)
    cp.run({}, run_id="order-1")
    file = tmp_path / PLACES[kind]
    if kind != "database":
        file = Path(cp.handler.locate("order-1"))
    temporary = file.with_name(f".{file.name}.{0:016x}.tmp")
    temporary.touch()
    assert found(place) == []
    os.utime(temporary, (1_000_000_000, 1_000_000_000))
    (finding,) = found(place)
    assert (finding.kind, finding.count) == ("leftover", 1)
    assert temporary.name in finding.problem
    temporary.unlink()


def test_temporary_files_of_a_living_owner(tmp_path: Path) -> None:
    """A writer may take long: the file of a run that a process owns is no leftover."""
    place = place_in(tmp_path, "directory")
    cp = make_flow(place)
    cp.run({}, run_id="order-1")
    temporary = tmp_path / "orders" / f".order-1.pkl.{0:016x}.tmp"
    temporary.touch()
    os.utime(temporary, (1_000_000_000, 1_000_000_000))
    with cp.handler.locked("order-1"):
        assert found(place) == []
    assert kinds(place) == ["leftover"]
    temporary.unlink()


def test_a_large_log(tmp_path: Path) -> None:
    """A "-wal" that has grown without limit is found."""
    place = place_in(tmp_path, "database")
    cp = make_flow(place)
    cp.run({}, run_id="order-1")
    cp.handler.close()
    wal = tmp_path / "orders.db-wal"
    with wal.open("wb") as file:
        file.truncate((64 << 20) + 1)
    (finding,) = found(place)
    assert finding.kind == "wal"
    assert "67.1 MB" in finding.problem


def test_a_damaged_database(tmp_path: Path) -> None:
    """Pages that do not fit together are found, though each run can still be read."""
    place = place_in(tmp_path, "database")
    cp = make_flow(place)
    cp.run({}, run_id="order-1")
    cp.handler.close()
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        connection.execute("CREATE TABLE t (a); ")
        connection.execute("INSERT INTO t VALUES (zeroblob(50000))")
        connection.commit()
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 't'")
        connection.commit()  # Its pages belong to nothing now.
    (finding,) = found(place)
    assert finding.kind == "damaged"
    assert finding.problem.startswith("orders.db is a damaged database: ")
    assert finding.problem.isprintable()


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_damaged_files(kind: str, tmp_path: Path) -> None:
    """A damaged snapshot is found once, whatever flows share the place."""
    place = place_in(tmp_path, kind)
    cp = make_flow(place)
    for name in ("order-1", "order-2"):
        cp.run({}, run_id=name)
    Path(cp.handler.locate("order-1")).write_bytes(b"no snapshot")
    other = CheckpointFlow(place, name="mails", fsync=False)
    other.add_step()(lambda state: None)
    other.run({}, run_id="mail-1")
    findings = [one for one in found(place) if one.kind == "damaged"]
    assert [(one.count, one.runs) for one in findings] == [(1, ("order-1",))]


def test_several_flows_of_a_database(tmp_path: Path) -> None:
    """Each flow of a database has its own findings."""
    place = place_in(tmp_path, "database")
    for name in ("orders", "mails"):
        cp = CheckpointFlow(place, name=name, fsync=False)

        @cp.add_step(name="keep")
        def keep(state: State) -> None:
            state["function"] = eval("lambda: 1")  # noqa: S307

        cp.run({}, run_id="one")
    assert [(one.kind, one.flow) for one in found(place)] == [("code", "mails"), ("code", "orders")]


def test_a_store_without_files() -> None:
    """Of a store in memory only the runs are looked at."""
    cp = CheckpointFlow("orders", handler=MemoryStateHandler)

    @cp.add_step()
    def keep(state: State) -> None:
        state["function"] = eval("lambda: 1")  # noqa: S307

    cp.run({}, run_id="order-1")
    store = store_of(cp.handler)
    assert [one.kind for one in check_store(store)] == ["code"]
    assert place_of(store).files() is None


def test_hostile_ids_steer_no_terminal(tmp_path: Path, queue_by_python_3_4: Queue) -> None:
    """Control characters of ids are shown by their escapes."""
    place = place_in(tmp_path, "directory")
    cp = make_flow(place)
    queue_by_python_3_4(cp, "a\x1b[2J\n" + "b" * 500)
    (finding,) = found(place)
    assert finding.problem.isprintable()
    assert "a\\x1b[2J" in finding.problem
    assert len(finding.problem) < 300
    assert finding.to_json()["runs"] == ["a\x1b[2J\n" + "b" * 500]
