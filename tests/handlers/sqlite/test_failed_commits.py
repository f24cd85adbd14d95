"""Nothing in memory runs ahead of the commit that justifies it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from batch_harness import BatchHarness
from locations import program

from aiocheckpoint import StorageError

if TYPE_CHECKING:
    from aiocheckpoint.handlers.sqlite._session import SqliteSession

SCRIPT = program("failed_commits_script.py")


@pytest.mark.skipif(sys.platform == "win32", reason="limits are of POSIX")
def test_two_failed_commits(tmp_path: Path) -> None:
    """After two failed commits in a row, the run is free again in its own process."""
    command = [sys.executable, str(SCRIPT), str(tmp_path / "runs.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"x": 1, "two": True}


class FailingCommits:
    """A connection whose commits fail as long as they are told to."""

    def __init__(self, connection: sqlite3.Connection, failures: int) -> None:
        self._connection = connection
        self.failures = failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> object:  # noqa: ANN401
        """Execute a statement, unless it is a commit that has to fail."""
        if self.failures and statement == "COMMIT":
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *values)


def fail_commits(session: SqliteSession, failures: int) -> None:
    """Let so many commits of a session fail."""
    session.statements.raw = FailingCommits(session.connection, failures)  # type: ignore[assignment]


@pytest.mark.parametrize("failures", [1, 2, 3, 7])
def test_release_is_repeated(failures: int, tmp_path: Path) -> None:
    """A release is repeated until its commit succeeds, however often it fails."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session
    fail_commits(session, failures)
    harness.apply([harness.job("give back", "v", 1)])
    for _ in range(failures):
        assert [row[:2] for row in harness.rows()] == [("v", 0), ("w", 0)]
        harness.transactions.on_idle()
    assert [row[:2] for row in harness.rows()] == [("w", 0)]
    assert session.pending_releases == []
    assert len(session.held_tokens) == 1
    harness.close()


def test_failed_claims_and_saves(tmp_path: Path) -> None:
    """Claims and saves of a failed commit change no lease."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session
    fail_commits(session, 1)
    before = harness.rows()
    jobs = harness.apply(
        [harness.job("begin", "x", 1), harness.job("count", "", 0), harness.job("end", "v", 2)]
    )
    assert [type(job.error) for job in jobs] == [StorageError] * 3
    assert harness.rows() == before
    assert jobs[0].request.lease.token == 0
    assert harness.leases["v"].record.token in session.held_tokens
    assert harness.leases["v"].record.token != 0
    assert len(session.held_tokens) == 2
    harness.close()


def test_heartbeat_of_a_failed_commit(tmp_path: Path) -> None:
    """A heartbeat counts only when its transaction was committed."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session
    fail_commits(session, 1)
    session.owners._last_heartbeat -= 3600.0  # noqa: SLF001
    harness.transactions.on_idle()
    assert session.owners.seconds_to_heartbeat <= 0
    harness.transactions.on_idle()
    assert session.owners.seconds_to_heartbeat > 0
    harness.close()


def test_claim_without_a_caller(tmp_path: Path) -> None:
    """A claim whose caller has gone before its commit is released by the same call."""
    harness = BatchHarness(str(tmp_path))
    job = harness.job("begin", "x", 1)
    job.request.lease.released = True
    harness.apply([job])
    assert [row[:2] for row in harness.rows() if row[0] == "x"] == [("x", 1)]
    harness.close()


def test_transaction_left_open(tmp_path: Path) -> None:
    """A transaction that a dead thread left open is rolled back before the next request."""
    harness = BatchHarness(str(tmp_path))
    harness.connection.execute("BEGIN IMMEDIATE")
    harness.connection.execute("DELETE FROM runs")
    (job,) = harness.apply([harness.job("running", "v", 1)])
    assert job.error is None
    assert [row[0] for row in harness.rows()] == ["v", "w"]
    harness.close()


class MovedAway:
    """A connection behind one of whose commits the database is moved away."""

    def __init__(self, connection: sqlite3.Connection, path: str, before: int) -> None:
        self._connection = connection
        self._path = path
        self._before = before

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> object:  # noqa: ANN401
        """Execute a statement, and move the files behind the commit."""
        done = self._connection.execute(statement, *values)
        if statement == "COMMIT":
            self._before -= 1
            if self._before < 0:
                for ending in ("", "-wal", "-shm"):
                    Path(f"{self._path}{ending}").rename(f"{self._path}.moved{ending}")
        return done


def test_claim_from_a_dead_owner_in_a_lost_file(tmp_path: Path) -> None:
    """A claim whose commit went into a database that was moved away fails."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session
    harness.connection.execute("UPDATE runs SET owner = ? WHERE run_id = 'v'", ("0" * 16,))
    # The first commit is that of the claim which finds the run owned.
    moving = MovedAway(session.connection, harness.path, 1)
    session.statements.raw = moving  # type: ignore[assignment]
    (job,) = harness.apply([harness.job("claim", "v", 1)])
    assert type(job.error) is StorageError
    assert job.request.lease.token == 0
    harness.close()


def test_check_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that memory was missing for says nothing of the files: the leases stay."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session

    def no_memory() -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(session._opened.files, "check", no_memory)  # noqa: SLF001
        (job,) = harness.apply([harness.job("running", "v", 1)])
    assert type(job.error) is StorageError
    (job,) = harness.apply([harness.job("running", "v", 1)])
    assert job.error is None
    assert harness.session is session
    harness.close()


def test_claims_of_an_outage(tmp_path: Path) -> None:
    """A claim is released once, however often it is made in an outage."""
    harness = BatchHarness(str(tmp_path))
    session = harness.session
    fail_commits(session, 100)
    job = harness.job("claim", "x", 1)
    for _ in range(10):
        job.result = job.error = None
        (done,) = harness.apply([job])
        assert type(done.error) is StorageError
    assert len(session.pending_releases) == 10  # Each commit may have come through.
    for _ in range(10):
        harness.transactions.fail([job], MemoryError())
    assert len(session.pending_releases) == 10
    fail_commits(session, 0)
    harness.close()
