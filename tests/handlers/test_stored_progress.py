"""Records of progress in stores: copied, adopted and deleted with their runs, and never in the way.

The cursors of flows are in `tests/engine/cursors`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cursor_flows import SECRET, CursorStore

from aiocheckpoint import adopt, adopt_all, current_step
from aiocheckpoint.errors import LeaseLostError, StorageError
from aiocheckpoint.handlers.leased._lease import Lease
from aiocheckpoint.handlers.local._run_lock import RunLock

if TYPE_CHECKING:
    from support import State

    from aiocheckpoint import StateHandler

KINDS = ("file", "directory", "database")
PASSED_OVER = "The progress stored for the run is passed over"
NOT_STORED = "The cursor of step 'pages' is not stored"


def broken(folder: Path, place: str) -> CursorStore:
    """A store whose run broke behind its third page."""
    store = CursorStore(folder, place)
    break_again(store, {})
    return store


def break_again(store: CursorStore, state: State | None = None) -> None:
    """Break behind the third page."""

    def work(state: State) -> None:
        current_step().progress(3, cursor={"page": 3})
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(work).run(state, run_id=store.run_id)


def next_cursor(store: CursorStore) -> State | None:
    """The cursor that the next attempt is given. It ends the run."""
    store.seen.clear()
    store.flow(lambda state: None).run(run_id=store.run_id)
    (cursor,) = store.seen
    return cursor


def record_file(store: CursorStore) -> Path:
    """The hidden file of the record."""
    path = Path(store.bare_flow().handler.locate(store.run_id))
    return path.with_name(f".{path.name}.progress")


def write(store: CursorStore, record: bytes) -> None:
    """Put other bytes into the place of the record."""
    handler: StateHandler = store.bare_flow().handler
    with handler.locked(store.run_id) as lock:
        handler.write_progress(store.run_id, record, lock=lock)


@pytest.mark.parametrize("kind", KINDS)
def test_backups_have_it(kind: str, tmp_path: Path) -> None:
    """A run that is restored from a backup goes on at the cursor of that time."""
    store = broken(tmp_path, kind)
    copied = CursorStore(tmp_path / "copy", kind)
    store.bare_flow().handler.backup(copied.path)
    assert next_cursor(store) == {"page": 3}
    assert next_cursor(copied) == {"page": 3}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("all_of_them", [False, True], ids=["adopt", "adopt_all"])
def test_adopted_runs_keep_it(kind: str, all_of_them: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """A secret is introduced, and then changed, and no cursor is lost."""
    store = broken(tmp_path, kind)
    for secret in (SECRET, ["n" * 32, SECRET]):
        store.options["secret"] = secret
        if all_of_them:
            assert adopt_all(store.path, flow="jobs", secret=secret) == 1
        else:
            adopt(store.path, flow="jobs", run_id=store.run_id, secret=secret)
    store.options["secret"] = "n" * 32
    assert next_cursor(store) == {"page": 3}


@pytest.mark.parametrize("kind", ["directory", "database"])
def test_adopt_signs_no_forgery(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An unsigned record beside a signed snapshot stays unsigned, and is passed over."""
    store = broken(tmp_path, f"signed {kind}")
    unsigned = broken(tmp_path / "other", kind).record()
    assert unsigned is not None
    write(store, unsigned)
    adopt(store.path, flow="jobs", run_id=store.run_id, secret=SECRET)
    assert store.record() == unsigned
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        assert next_cursor(store) is None
    assert [PASSED_OVER in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("record", [b"", b"x", bytes(70_000), bytes(90_000)], ids=len)
def test_damage_costs_the_cursor_alone(
    kind: str, record: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in its place, the run goes on, with one log record that names it."""
    store = broken(tmp_path, kind)
    if kind == "database":
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
            connection.execute("UPDATE progress SET record = ?", (record,))
    else:
        record_file(store).write_bytes(record)
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        assert next_cursor(store) is None
    (logged,) = [one for one in caplog.records if PASSED_OVER in one.getMessage()]
    assert (getattr(logged, "flow", ""), getattr(logged, "run_id", "")) == ("jobs", store.run_id)


def test_another_file_in_its_place_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory at the path is neither read nor replaced, and the failure is recorded."""
    store = CursorStore(tmp_path, "directory")
    (tmp_path / "jobs").mkdir()
    record_file(store).mkdir()
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        break_again(store, {})
        assert [NOT_STORED in record.getMessage() for record in caplog.records] == [True]
        caplog.clear()
        assert next_cursor(store) is None
    assert PASSED_OVER in caplog.records[0].getMessage()
    assert record_file(store).is_dir()
    assert not list(record_file(store).parent.glob(".*.tmp"))


def test_no_link_is_written_through(tmp_path: Path) -> None:
    """A link at the path is replaced, and what it points to stays as it is."""
    store = CursorStore(tmp_path, "directory")
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / "jobs").mkdir()
    record_file(store).symlink_to(target)
    break_again(store, {})
    assert target.read_text() == "mine"
    assert not record_file(store).is_symlink()
    assert record_file(store).stat().st_mode & 0o777 == 0o600
    assert next_cursor(store) == {"page": 3}


def test_links_to_one_file_share_it(tmp_path: Path) -> None:
    """A run that is reached by a link goes on at the same cursor."""
    store = broken(tmp_path, "file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link.pkl").symlink_to(tmp_path / "jobs.pkl")
    store.path = f"{tmp_path}/elsewhere/link.pkl"
    assert next_cursor(store) == {"page": 3}
    assert not record_file(store).exists()
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_files_of_records_are_not_flushed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record waits for the disk, though each snapshot does."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    handler = CursorStore(tmp_path, kind).bare_flow(fsync=True).handler
    run_id = None if kind == "file" else "nightly"
    handler.write({"n": 1}, run_id)
    assert flushed
    with handler.locked(run_id) as lock:
        flushed.clear()
        handler.write_progress(run_id, b"first", lock=lock)
        handler.write_progress(run_id, b"second", lock=lock)
        assert handler.read_progress(run_id, lock=lock) == b"second"
        handler.write_progress(run_id, None, lock=lock)
    assert flushed == []


@pytest.mark.parametrize("kind", ["directory", "database"])
def test_pruned_runs_leave_none(kind: str, tmp_path: Path) -> None:
    """Records are deleted with the runs that are deleted by their age."""
    store = broken(tmp_path, kind)
    assert store.bare_flow().prune(0, "failed") == 1
    assert store.record() is None
    if kind == "database":
        assert rows_of(tmp_path) == 0
    else:
        assert list((tmp_path / "jobs").iterdir()) == []


def test_lists_clear_what_finished_runs_left(tmp_path: Path) -> None:
    """A record that a killed owner left beside a finished run is deleted by a list of runs."""
    store = broken(tmp_path, "directory")
    record = record_file(store).read_bytes()
    store.flow(lambda state: None).runs()
    assert record_file(store).read_bytes() == record
    next_cursor(store)
    record_file(store).write_bytes(record)
    store.flow(lambda state: None).runs()
    assert not record_file(store).exists()


def test_an_owner_that_lost_its_file_lock_stores_none(tmp_path: Path) -> None:
    """The fence of files holds for records, and leaves no temporary file."""
    handler = CursorStore(tmp_path, "directory").bare_flow().handler
    with handler.locked("nightly") as lock:
        assert isinstance(lock, RunLock)
        Path(lock.file).unlink()
        with pytest.raises(LeaseLostError):
            handler.write_progress("nightly", b"late", lock=lock)
        with pytest.raises(LeaseLostError):
            handler.write_progress("nightly", None, lock=lock)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_an_owner_that_lost_its_lease_stores_none(tmp_path: Path) -> None:
    """The token is in the statement, alone and with a snapshot, and in that which deletes."""
    store = broken(tmp_path, "database")
    before = store.record()
    handler = store.bare_flow().handler
    with handler.locked("nightly") as lock, handler.stored("nightly") as found:
        assert isinstance(lock, Lease)
        assert found is not None
        later = found.header.ended("failed", at=1_000.5)
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
            connection.execute("UPDATE runs SET token = token + 1")
        handler.write_progress("nightly", b"late", lock=lock)
        handler.write_progress("nightly", None, lock=lock)
        lock.record.progress = b"late"
        with pytest.raises(LeaseLostError):
            handler.replace("nightly", partial(handler.codec.copy, later, found), lock=lock)
    assert store.record() == before


def test_records_of_a_database_that_older_releases_use(tmp_path: Path) -> None:
    """A row whose run 0.6 has deleted is found behind a new run, and counts for nothing."""
    store = broken(tmp_path, "database")
    store.bare_flow().handler.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM runs")
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(_breaks).run({}, run_id=store.run_id)
    assert rows_of(tmp_path) == 1
    assert next_cursor(store) is None
    assert rows_of(tmp_path) == 0


def test_a_database_of_an_older_release_is_read(tmp_path: Path) -> None:
    """One that has no table for them yet has none, and gets it when it is written."""
    store = broken(tmp_path, "database")
    handler = store.bare_flow().handler
    handler.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE progress")
    assert store.record() is None
    handler.close()
    break_again(store)
    assert next_cursor(store) == {"page": 3}


def test_a_full_disk_keeps_the_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that refuses the record with the header keeps neither, and says so once."""
    store = broken(tmp_path, "database")
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON progress BEGIN SELECT raise(ABORT, 'full'); END"
        )
    store.seen.clear()

    def work(state: State) -> None:
        current_step().progress(4, cursor={"page": 4})
        raise ValueError("own")

    with pytest.raises(ValueError, match="own") as caught:
        store.flow(work).run(run_id=store.run_id)
    assert any("not recorded in the checkpoint" in note for note in caught.value.__notes__)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER full")
    assert next_cursor(store) == {"page": 3}


def test_errors_hold_no_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor an error has anything of a cursor."""
    store = CursorStore(tmp_path, "directory")
    (tmp_path / "jobs").mkdir()
    record_file(store).mkdir()

    def work(state: State) -> None:
        current_step().progress(1, 2, "secret note", cursor={"secret key": "secret value"})
        raise ValueError

    with caplog.at_level(logging.DEBUG, "aiocheckpoint"), pytest.raises(ValueError) as caught:  # noqa: PT011
        store.flow(work).run({}, run_id=store.run_id)
    handler = store.bare_flow().handler
    with handler.locked("nightly") as lock, pytest.raises(StorageError) as refused:
        handler.write_progress("nightly", b"secret", lock=lock)
    logged = [one.getMessage() for one in caplog.records]
    texts = [str(refused.value), *caught.value.__notes__, *logged]
    assert not any("secret" in text for text in texts)


def rows_of(folder: Path) -> int:
    """The number of records in a database."""
    with closing(sqlite3.connect(folder / "jobs.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM progress").fetchone()
    return int(count)


def _breaks(state: State) -> None:
    raise ValueError
