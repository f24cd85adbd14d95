"""Owners that are killed, stopped, cut off, or only believed to be gone, and their successors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from shared_owners import KEPT, TAKEN, Asker, acknowledged, make_taker, shared_owner, trail
from standby import fail_over_url, promote, standby

from aiocheckpoint import RunInProgressError
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from network_namespaces import CutOffHost
    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

LEASE = 1.0
SAFE = 9.0
"""A lease that a busy machine does not exceed by itself."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the file in which the owner's steps are noted."""
    return tmp_path / "log"


def check_taken(asker: Asker, log: Path, run: str = "x") -> None:
    """Check that a run was taken behind its first step, and that its owner stored nothing since."""
    state = asker.flow.read(run)
    assert state["trail"] == TAKEN
    assert acknowledged(log, run) == ["a"]


def test_killed_owner(postgres: PostgresServer, database_url: str, log: Path) -> None:
    """The runs of a killed process are taken without waiting for the end of its lease."""
    asker = Asker(make_taker(database_url, lease=SAFE))
    with shared_owner(database_url, log, "x", "y", lease=SAFE) as owner:
        postgres.wait_until_up(SAFE / 3 + 1)
        assert asker.ask() == []
        owner.kill()
        assert asker.ask_until_found("x") < SAFE
        asker.ask_until_found("y")
    check_taken(asker, log)
    check_taken(asker, log, "y")


def test_killed_owner_behind_a_pooler(pooler: PgBouncer, database: str, log: Path) -> None:
    """Where nobody sees the session of a killed process, its lease runs out first."""
    asker = Asker(make_taker(pooler.url(database), lease=LEASE))
    with shared_owner(pooler.url(database), log, "x", lease=LEASE) as owner:
        asker.ask_for(LEASE)
        owner.kill()
        # It may have beaten a third of the lease ago.
        assert asker.ask_until_found("x") > LEASE / 2
    check_taken(asker, log)


def test_stopped_owner(database_url: str, log: Path) -> None:
    """A process that a signal stops for longer than its lease stores nothing when it wakes."""
    asker = Asker(make_taker(database_url, lease=LEASE))
    with shared_owner(database_url, log, "x", lease=LEASE) as owner:
        asker.ask()
        owner.suspend()
        asker.ask_until_found("x")
        owner.wake()
        assert owner.end() == "LeaseLostError"
    check_taken(asker, log)


def test_living_owner(database_url: str, log: Path) -> None:
    """A process whose run takes longer than its lease keeps the run."""
    lease = 2.0
    asker = Asker(make_taker(database_url, lease=lease))
    with shared_owner(database_url, log, "x", lease=lease) as owner:
        assert asker.ask_for(1.3 * lease) == []
        assert owner.end() == "done"
    assert asker.flow.read("x")["trail"] == KEPT


def test_server_down_for_longer_than_a_lease(own_postgres: PostgresServer, log: Path) -> None:
    """After the outage a living owner keeps its run, and a dead one is succeeded."""
    url = own_postgres.url(own_postgres.create_database())
    asker = Asker(make_taker(url, lease=LEASE))
    with (
        shared_owner(url, log, "x", lease=LEASE) as living,
        shared_owner(url, log, "y", lease=LEASE) as dead,
    ):
        asker.ask()
        own_postgres.stop("immediate")
        dead.kill()
        time.sleep(1.5 * LEASE)
        own_postgres.start()
        asker.ask_until_found("y")
        asker.ask_for(LEASE)
        assert asker.found == ["y"]
        assert living.end() == "done"
    check_taken(asker, log, "y")
    assert asker.flow.read("x")["trail"] == KEPT


def test_server_restarted_under_a_slow_owner(own_postgres: PostgresServer, log: Path) -> None:
    """An owner that is late to connect again after a restart is not taken for dead."""
    url, lease = own_postgres.url(own_postgres.create_database()), 15.0
    asker = Asker(make_taker(url, lease=lease))
    with shared_owner(url, log, "x", lease=lease) as owner:
        asker.ask()
        own_postgres.wait_until_up(1)
        owner.suspend()
        own_postgres.restart("immediate")
        assert asker.ask_for(1.2) == []
        owner.wake()
        assert asker.ask_for(1.0) == []
        assert owner.end() == "done"
    assert asker.flow.read("x")["trail"] == KEPT


def test_failover_to_a_standby(own_postgres: PostgresServer, log: Path) -> None:
    """On the second server of the URL a living owner keeps its run, and a dead one is succeeded.

    What is read meanwhile is of the server that takes writes.
    """
    name = own_postgres.create_database()
    with standby(own_postgres) as second:
        url = fail_over_url(own_postgres, second, name)
        asker = Asker(make_taker(url, lease=2 * LEASE))
        with (
            shared_owner(url, log, "x", lease=2 * LEASE) as living,
            shared_owner(url, log, "y", lease=2 * LEASE) as dead,
        ):
            asker.ask()
            own_postgres.kill()
            dead.kill()
            promote(second)
            asker.ask_until_found("y")
            asker.ask_for(LEASE)
            assert asker.found == ["y"]
            assert living.end() == "done"
        check_taken(asker, log, "y")
        assert asker.flow.read("x")["trail"] == KEPT


@pytest.mark.parametrize("reader", ["flow", "look"])
def test_reads_of_several_servers(own_postgres: PostgresServer, reader: str) -> None:
    """Where the URL names a standby first, what is read is still what was stored last."""
    name = own_postgres.create_database()
    with standby(own_postgres) as second:
        hosts = f"127.0.0.1:{second.port},127.0.0.1:{own_postgres.port}"
        url = own_postgres.url(name, host=hosts)
        taker = make_taker(url)
        taker.run({"id": "x", "trail": []}, run_id="x")
        second.sql("SELECT pg_wal_replay_pause()")
        taker.run({"id": "y", "trail": []}, run_id="y")
        if reader == "flow":
            assert taker.read("y")["trail"] == trail("taker", "taker", "taker")
        else:
            with open_store(url) as store:
                assert {run.run_id for run in store.runs()} == {"x", "y"}


def test_host_cut_off_for_a_moment(
    own_postgres: PostgresServer, cut_off: CutOffHost, log: Path
) -> None:
    """A host whose network fails for less than a lease keeps its runs."""
    name, lease = own_postgres.create_database(), 12.0
    asker = Asker(make_taker(own_postgres.url(name), lease=lease))
    here = own_postgres.url(name, host=cut_off.here)
    with shared_owner(here, log, "x", before=cut_off.prefix, lease=lease) as owner:
        asker.ask()
        cut_off.cut()
        assert asker.ask_for(1.5) == []
        cut_off.join()
        assert owner.end() == "done"
    assert asker.flow.read("x")["trail"] == KEPT


def test_host_cut_off_for_longer_than_a_lease(
    own_postgres: PostgresServer, cut_off: CutOffHost, log: Path
) -> None:
    """A host whose network fails for longer loses its runs, and learns it when it is back."""
    name = own_postgres.create_database()
    asker = Asker(make_taker(own_postgres.url(name), lease=LEASE))
    here = own_postgres.url(name, host=cut_off.here)
    with shared_owner(here, log, "x", before=cut_off.prefix, lease=LEASE) as owner:
        asker.ask()
        cut_off.cut()
        asker.ask_until_found("x")
        cut_off.join()
        assert owner.end() == "LeaseLostError"
    check_taken(asker, log)


def test_owner_without_a_row(
    postgres: PostgresServer, database: str, database_url: str, log: Path
) -> None:
    """An owner whose row is deleted has a lease to beat again. One that does not is succeeded."""
    taker = make_taker(database_url, lease=2 * LEASE)
    with shared_owner(database_url, log, "x", "y", lease=2 * LEASE) as owner:
        for _ in range(2):
            postgres.sql("DELETE FROM aiocheckpoint.owners", database=database)
            with pytest.raises(RunInProgressError):
                taker.run(run_id="x", wait=LEASE)
        owner.suspend()
        postgres.sql("DELETE FROM aiocheckpoint.owners", database=database)
        assert taker.run(run_id="x", wait=60.0)["trail"] == TAKEN
        owner.wake()
        assert owner.end() == "LeaseLostError LeaseLostError"
    assert acknowledged(log, "x") == ["a"]


@pytest.mark.parametrize("clock", [86_400.0, -86_400.0])
def test_wall_clock_a_day_off(database_url: str, log: Path, clock: float) -> None:
    """A process whose clock is a day off keeps its runs while it lives, and no longer."""
    asker = Asker(make_taker(database_url, lease=LEASE))
    with shared_owner(database_url, log, "x", lease=2 * LEASE, clock=clock) as owner:
        assert asker.ask_for(LEASE) == []
        owner.kill()
        asker.ask_until_found("x")
    check_taken(asker, log)


@pytest.mark.parametrize("clock", ["1 day", "-1 day"])
def test_clock_of_the_server_a_day_off(
    postgres: PostgresServer, database: str, database_url: str, log: Path, clock: str
) -> None:
    """A server whose clock jumps by a day robs no owner, and keeps no dead one alive."""
    move_clock(postgres, database)
    asker = Asker(make_taker(database_url, lease=2 * LEASE))
    with shared_owner(database_url, log, "x", lease=2 * LEASE) as owner:
        asker.ask()
        postgres.sql("UPDATE shifted.clock SET by = %s", clock, database=database)
        assert asker.ask_for(LEASE) == []
        owner.kill()
        asker.ask_until_found("x")
    check_taken(asker, log)


def move_clock(server: PostgresServer, database: str) -> None:
    """Let the functions that tell the time in a database add `shifted.clock.by`, which is 0 yet.

    The schemas of the search path come in its order, that of the system too where it is named.
    """
    statements = [
        "CREATE SCHEMA shifted",
        "CREATE TABLE shifted.clock AS SELECT interval '0' AS by",
    ]
    for name in ("clock_timestamp", "now", "statement_timestamp", "transaction_timestamp"):
        moved = f"pg_catalog.{name}() + by FROM shifted.clock"
        made = f"CREATE FUNCTION shifted.{name}() RETURNS timestamptz LANGUAGE sql"
        statements.append(f"{made} AS 'SELECT {moved}'")
    for statement in statements:
        server.sql(statement, database=database)
    server.sql(f'ALTER DATABASE "{database}" SET search_path = shifted, pg_catalog, public')
