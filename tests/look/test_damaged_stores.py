"""Of a damaged store, what is damaged is named, and the rest is listed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from looked_at import KINDS, make_store, place_in
from row_fuzz import COLUMNS, SCHEMAS, VALUES, make_database
from run_factories import sql

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    StorageError,
)
from aiocheckpoint.look import RunView, Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SECRET, OTHER = "s" * 32, "another secret, of more than 32 bytes"
by_kind = pytest.mark.parametrize("kind", KINDS)


def damages(runs: Iterable[RunView]) -> dict[str | None, str | None]:
    """What is wrong with each run that is not sound."""
    return {run.run_id: run.damage for run in runs if run.status == "damaged"}


def change(folder: Path, kind: str, run_id: str, mend: Callable[[bytes], bytes]) -> None:
    """Change the stored bytes of a run."""
    if kind == "database":
        with closing(sqlite3.connect(folder / KINDS[kind])) as connection:
            query = "SELECT payload, footer FROM runs WHERE run_id = ?"
            payload, footer = connection.execute(query, (run_id,)).fetchone()
            changed = mend(payload + footer)
            parts = changed[: len(payload)], changed[len(payload) :], run_id
            connection.execute("UPDATE runs SET payload = ?, footer = ? WHERE run_id = ?", parts)
            connection.commit()
        return
    name = f"{run_id}.pkl" if kind == "directory" else f"runs.{run_id}.pkl"
    file = folder / ("runs" if kind == "directory" else "") / name
    file.write_bytes(mend(file.read_bytes()))


def flipped(data: bytes, at: int) -> bytes:
    """The bytes with one of them changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


@by_kind
def test_a_damaged_header(kind: str, tmp_path: Path) -> None:
    """A run whose header is damaged is listed as damaged, and the others as they are."""
    make_store(tmp_path, kind)
    change(tmp_path, kind, "order-1", lambda data: flipped(data, len(data) - 200))
    store = open_store(place_in(tmp_path, kind))
    assert {run.run_id for run in store.runs()} == {f"order-{n}" for n in range(4)}
    ((name, damage),) = damages(store.runs()).items()
    assert name == "order-1"
    assert "does not match the seal" in str(damage)
    assert damages(store.runs(damaged=False)) == {}
    assert store.run("order-1").damage == damage
    assert damages(store.verify()) == {name: damage}


@by_kind
def test_a_damaged_payload(kind: str, tmp_path: Path) -> None:
    """A payload is compared with its digest where one run is shown or all are verified."""
    make_store(tmp_path, kind)
    change(tmp_path, kind, "order-1", lambda data: flipped(data, 5))
    store = open_store(place_in(tmp_path, kind))
    assert damages(store.runs()) == {}
    run = store.run("order-1", values=True, sizes=True)
    assert (run.status, run.keys, run.sizes) == ("damaged", None, None)
    assert "does not match its digest" in str(run.damage)
    assert damages(store.verify()).keys() == {"order-1"}
    assert store.history("order-1", keys=True)[0].damage == run.damage
    with pytest.raises(CorruptSnapshotError):
        store.diff("order-1", 4, 4)


@by_kind
def test_a_copied_run(kind: str, tmp_path: Path) -> None:
    """The snapshot of one run in the place of another one is damage."""
    make_store(tmp_path, kind)
    taken: list[bytes] = []

    def take(data: bytes) -> bytes:
        taken.append(data)
        return data

    change(tmp_path, kind, "order-2", take)
    change(tmp_path, kind, "order-1", lambda _: taken[0])
    store = open_store(place_in(tmp_path, kind))
    expected = {"order-1": "it is the snapshot of another run, 'order-2'"}
    assert damages(store.runs()) == expected
    assert damages([store.run("order-1")]) == expected


@pytest.mark.parametrize("sort", ["began", "wrote", "took"])
def test_a_damaged_page(sort: str, tmp_path: Path) -> None:
    """Of a database with a damaged page, the runs of all other pages are listed."""
    make_store(tmp_path, "database", 60)
    file = tmp_path / "runs.db"
    with closing(sqlite3.connect(file)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT pageno FROM dbstat WHERE name = 'runs' AND pagetype = 'leaf'"
        try:
            pages = [page for (page,) in connection.execute(query)]
        except sqlite3.OperationalError:
            pytest.skip("needs the table dbstat of SQLite")
    data = bytearray(file.read_bytes())
    damaged = pages[len(pages) // 2]
    data[(damaged - 1) * size : damaged * size] = b"\xff" * size
    file.write_bytes(data)
    with open_store(file) as store:
        runs = list(store.runs(sort=sort))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert {run.run_id for run in runs} == {f"order-{n}" for n in range(60)}
        lost = damages(runs)
        assert 0 < len(lost) < 30
        assert set(lost.values()) == {"the page of the database that has it is damaged"}
        sound = [run for run in runs if run.damage is None]
        if sort == "began":
            assert [run.started_at for run in sound] == sorted(
                (run.started_at for run in sound), reverse=True
            )
        assert damages(store.verify()) == lost
        assert damages(store.run(run_id) for run_id in lost) == lost
        assert store.count().total == store.count(("error", "day")).total == 60
        assert [(flow.total, flow.damaged) for flow in store.flows()] == [(60, len(lost))]


def test_odd_files_in_a_directory(tmp_path: Path) -> None:
    """Empty files, cut ones and those of other programs stand beside sound runs."""
    make_store(tmp_path, "directory")
    folder = tmp_path / "runs"
    (folder / "empty.pkl").touch()
    (folder / "text.pkl").write_text("hello", "utf-8")
    (folder / "order-9.pkl").write_bytes((folder / "order-1.pkl").read_bytes()[:-20])
    (folder / "dir.pkl").mkdir()
    store = open_store(f"{folder}/")
    found = damages(store.runs())
    assert found.keys() == {"empty", "text", "order-9", "dir"}
    assert store.count().rows == ((("damaged",), 4), (("finished",), 3), (("failed",), 1))
    assert sum(1 for run in store.runs() if run.damage is None) == 4


@by_kind
def test_signatures(kind: str, tmp_path: Path) -> None:
    """With the secret, signatures are verified. Without, they are named. Others are damage."""
    make_store(tmp_path, kind, secret=SECRET)
    place = place_in(tmp_path, kind)
    bare, known, wrong = (open_store(place, secret=one) for one in (None, SECRET, OTHER))
    for store, verified in ((bare, False), (known, True)):
        assert {run.verified for run in store.runs()} == {verified}
        assert {run.signed_by is None for run in store.runs()} == {False}
        assert damages(store.verify()) == {}
        assert store.run("order-1", values=True).keys is not None
    assert len(damages(wrong.runs())) == len(damages(wrong.verify())) == 4
    assert "is signed with the secret of id" in str(wrong.run("order-1").damage)
    assert wrong.run("order-1").step_count == 3
    assert {run.verified for run in open_store(place, secret=[OTHER, SECRET]).runs()} == {True}


@by_kind
def test_unsigned_where_secrets_are_given(kind: str, tmp_path: Path) -> None:
    """A snapshot without a signature is damage for one who has the secret."""
    make_store(tmp_path, kind)
    place = place_in(tmp_path, kind)
    assert {run.verified for run in open_store(place).runs()} == {None}
    assert set(damages(open_store(place, secret=SECRET).runs()).values()) == {"it is not signed"}


def test_databases_that_are_refused(tmp_path: Path) -> None:
    """A later version, another program's database, and a file that is none are refused at once."""
    make_store(tmp_path, "database")
    file = tmp_path / "runs.db"
    sql(file, "PRAGMA user_version = 99")
    with pytest.raises(IncompatibleSnapshotError, match="install a later release"):
        open_store(file)
    sql(file, "PRAGMA application_id = 7")
    with pytest.raises(StorageError, match="another program"):
        open_store(file)
    notes = tmp_path / "notes.txt"
    notes.write_text("hello", "utf-8")
    with pytest.raises(CorruptSnapshotError, match="Nothing in it shows that this library"):
        open_store(notes)


def look_everywhere(store: Store) -> None:
    """Look in every way. Documented errors are the only ones."""
    looks: list[Callable[[], object]] = [
        store.flows,
        lambda: [run.to_json() for run in store.runs(flow="f")],
        lambda: list(store.runs(flow="f", sort="took", limit=2)),
        lambda: store.count(("status", "step", "error", "day"), flow="f"),
        lambda: [run.to_json() for run in store.verify()],
        lambda: store.run("odd", values=True, sizes=True),
        lambda: store.history("odd", keys=True),
        lambda: store.diff("odd"),
    ]
    for one in looks:
        try:
            one()
        except CheckpointError:
            continue


@pytest.mark.parametrize("case", range(0, len(COLUMNS) * len(VALUES), 29))
def test_odd_rows(case: int, tmp_path: Path) -> None:
    """Whatever value a column has, looks end well or by a documented error."""
    (table, column), value = COLUMNS[case % len(COLUMNS)], VALUES[case // len(COLUMNS)]
    path = tmp_path / "odd.db"
    make_database(path)
    with closing(sqlite3.connect(path)) as connection:
        text = getattr(value, "text", None)
        shown, bound = ("?", (value,)) if text is None else (text, ())
        try:
            connection.execute(f"UPDATE {table} SET {column} = {shown}", bound)  # noqa: S608
        except (sqlite3.IntegrityError, OverflowError):
            return
        connection.commit()
    with open_store(path) as store:
        look_everywhere(store)


@pytest.mark.parametrize("name", [*SCHEMAS][::5])
def test_odd_tables(name: str, tmp_path: Path) -> None:
    """Whatever tables a database has, looks end well or by a documented error."""
    path = tmp_path / "odd.db"
    make_database(path)
    for statement in SCHEMAS[name]:
        sql(path, statement)
    try:
        store = open_store(path)
    except CheckpointError:
        return
    look_everywhere(store)
