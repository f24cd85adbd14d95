"""New cursors are stored while their step works, by the looks of another thread."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cursor_flows import PLACES, CursorStore

from aiocheckpoint import current_step
from aiocheckpoint._engine import claimed_runs
from aiocheckpoint._engine.claimed_runs import begin_looks

if TYPE_CHECKING:
    from support import State


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CursorStore:
    """A store of each kind."""
    return CursorStore(tmp_path, request.param)


@pytest.fixture(autouse=True)
def _no_other_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests look by themselves. Their runs begin behind this."""
    monkeypatch.setattr(claimed_runs, "begin_looks", list)


def look() -> None:
    """Do what the thread does once a second, and wait for it."""
    for one in begin_looks():
        one.result()


def page(number: int) -> None:
    """Report a page."""
    current_step().progress(number, cursor={"page": number})


def test_a_look_stores_what_is_new(store: CursorStore) -> None:
    """Each look stores the last cursor, and one without news writes nothing."""
    records: list[bytes | None] = []

    def work(state: State) -> None:
        for pages in ((), (1, 2), (), (3,)):
            for number in pages:
                page(number)
            look()
            records.append(store.record())

    store.flow(work).run({}, run_id=store.run_id)
    assert records[0] is None
    assert b'"cursor":{"page":2}' in (records[1] or b"")
    assert records[2] == records[1]
    assert b'"cursor":{"page":3}' in (records[3] or b"")
    assert store.record() is None


def test_a_look_behind_the_step_stores_nothing(store: CursorStore) -> None:
    """A cursor that comes too late is not stored."""

    def fetch(state: State) -> None:
        page(1)
        look()

    def then(state: State) -> None:
        records.append(store.record())
        look()
        records.append(store.record())

    records: list[bytes | None] = []
    cp = store.bare_flow()
    cp.add_step(name="pages")(fetch)
    cp.add_step(name="tell")(then)
    cp.run({}, run_id=store.run_id)
    assert records == [None, None]


def test_what_is_stored_is_not_stored_again(store: CursorStore) -> None:
    """A failure without news leaves the record of the last look."""
    records: list[bytes | None] = []

    def work(state: State) -> None:
        page(1)
        look()
        records.append(store.record())
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(work).run({}, run_id=store.run_id)
    assert records == [store.record()]


def test_a_store_that_refuses_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A look that fails breaks nothing, and a later one stores the cursor."""
    store = CursorStore(tmp_path, "file")
    obstacle = tmp_path / ".jobs.pkl.progress"

    def work(state: State) -> None:
        obstacle.mkdir()
        page(1)
        look()
        look()
        obstacle.rmdir()
        look()
        raise ValueError

    with caplog.at_level(logging.WARNING, "aiocheckpoint"), pytest.raises(ValueError):  # noqa: PT011
        store.flow(work).run({})
    logged = [one for one in caplog.records if "is not stored" in one.getMessage()]
    assert len(logged) == 1
    assert b'"page":1' in (store.record() or b"")


def test_a_database_that_refuses_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same for a statement that fails in the writer thread."""
    store = CursorStore(tmp_path, "database")
    made = "CREATE TRIGGER full BEFORE INSERT ON progress BEGIN SELECT raise(ABORT, 'full'); END"

    def work(state: State) -> None:
        execute(tmp_path, made)
        page(1)
        look()
        look()
        execute(tmp_path, "DROP TRIGGER full")
        look()
        assert b'"page":1' in (store.record() or b"")

    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        store.flow(work).run({}, run_id=store.run_id)
    logged = [one for one in caplog.records if "is not stored" in one.getMessage()]
    assert len(logged) == 1


def test_a_lost_run_stores_no_cursor(store: CursorStore, tmp_path: Path) -> None:
    """The look of an owner that has lost its run changes nothing of what the next one has."""

    def work(state: State) -> None:
        page(1)
        look()
        before.append(store.record())
        if store.path.startswith("sqlite"):
            execute(tmp_path, "UPDATE runs SET token = token + 1")
        else:
            path = Path(store.bare_flow().handler.locate(store.run_id))
            path.with_name(f".{path.name}.lock").unlink()
        page(2)
        look()
        before.append(store.record())

    before: list[bytes | None] = []
    with pytest.raises(Exception, match="lost"):
        store.flow(work).run({}, run_id=store.run_id)
    assert before[0] == before[1] == store.record()
    assert b'"page":1' in (before[0] or b"")


@pytest.mark.parametrize("given", [None, {"page": 1}])
def test_statements_of_a_failure(
    given: State | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step without a cursor names no table of them. One with it stores it in one transaction."""
    statements: list[str] = []
    real = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = real(*args, **kwargs)
        connection.set_trace_callback(statements.append)
        return connection

    def work(state: State) -> None:
        statements.clear()
        if given is not None:
            current_step().progress(1, cursor=given)
        raise ValueError

    store = CursorStore(tmp_path, "database")
    monkeypatch.setattr(sqlite3, "connect", connect)
    cp = store.flow(work)
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        cp.run({}, run_id="x")
    words = [one.split()[0] for one in statements]
    named = [one for one in statements if "progress" in one]
    cp.handler.close()
    writes = [word for word in words if word in {"BEGIN", "INSERT", "UPDATE"}]
    assert writes == (["UPDATE"] if given is None else ["BEGIN", "INSERT", "UPDATE"])
    assert len(named) == (given is not None)


def execute(folder: Path, statement: str) -> None:
    """Change the database as another program does."""
    with closing(sqlite3.connect(folder / "jobs.db", isolation_level=None)) as connection:
        connection.execute(statement)
