"""The statements of the PostgreSQL store: many rows at once, under tokens, and twice the same."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from postgres_connections import connected, register

from aiocheckpoint._model.header import Header
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.leased import (
    Claim,
    LeaseRecord,
    OwnerBeat,
    QueuedColumns,
    QueuedRow,
    Release,
    Save,
    StartRow,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgbouncer import PgBouncer

    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers.leased import StoredRun
    from aiocheckpoint.handlers.postgres._connection import PostgresConnection

OWNER, OTHER = "a" * 16, "b" * 16
NUMBERS = [1, 7]
"""One row travels by itself, and several travel together."""
ODD_STEPS = ("plain", 'quo"te\\d', "nul\0", "\ud800", "über {,} NULL", "")


@pytest.fixture
def connection(database_url: str) -> Generator[PostgresConnection]:
    """Give a connection to new tables."""
    with connected(database_url) as made:
        register(made, OWNER, OTHER)
        yield made


def lease(name: str, token: int, keep: Keep = 1) -> LeaseRecord:
    """Make the record of a lease that asks with a token."""
    record = LeaseRecord((b"f", name.encode("utf-8", "surrogatepass")), name, keep)
    record.asked_token = token
    return record


def header(sequence: int, status: str = "running", number: int = 1, step: str = "s") -> Header:
    """Make the header of a snapshot."""
    return Header(
        flow="f",
        run_id="r",
        number=number,
        sequence=sequence,
        steps=(step,),
        position=0,
        status=status,  # type: ignore[arg-type]
        started_at=1.5,
        written_at=2.5 + sequence,
    )


def claimed(
    connection: PostgresConnection, count: int, *, first: bool = True, keep: Keep = 1
) -> list[LeaseRecord]:
    """Claim new runs with or without a first snapshot, and give their leases."""
    leases = [lease(f"r{number}", 100 + number, keep) for number in range(count)]
    snapshot = (header(1), b"payload", b"footer") if first else None
    for run in connection.claim([Claim(one, snapshot) for one in leases], OWNER, 5.0):
        leases[run.number].row, leases[run.number].token = run.row, run.token
    return leases


def saves(leases: list[LeaseRecord], new: Header, payload: bytes = b"p") -> list[Save]:
    """Make requests to store a snapshot of each."""
    return [
        Save(one, new, payload + str(number).encode(), b"f" + str(number).encode(), None)
        for number, one in enumerate(leases)
    ]


def columns(connection: PostgresConnection, names: str) -> list[tuple[object, ...]]:
    """Give columns of all runs, by their ids."""
    return connection.server.rows(f"SELECT {names} FROM SCHEMA.runs ORDER BY run_id")  # noqa: S608


def by_number(runs: list[StoredRun]) -> list[StoredRun]:
    """Give rows in the order of their claims."""
    return sorted(runs)


@pytest.mark.parametrize("count", NUMBERS)
def test_claim_of_new_runs(count: int, connection: PostgresConnection) -> None:
    """New runs get rows with their first snapshots, and a second claim finds them as they are."""
    snapshot = (header(1, step='quo"te\0'), b"payload\0", b"footer\xff")
    claims = [Claim(lease(f"r{number}", 100 + number), snapshot) for number in range(count)]
    made = by_number(connection.claim(claims, OWNER, 5.0))
    assert [(run.number, run.token, run.owner) for run in made] == [
        (number, 100 + number, OWNER) for number in range(count)
    ]
    again = by_number(connection.claim(claims, OWNER, 6.0))
    assert again == made  # The answer was lost: the tokens and the time are those of the first try.
    stored = columns(connection, "step, footer, payload, status, claimed_at, sequence, written_at")
    assert stored == [(b'quo"te\0', b"footer\xff", b"payload\0", "running", 5.0, 1, 3.5)] * count


@pytest.mark.parametrize("count", NUMBERS)
def test_claim_without_snapshot(count: int, connection: PostgresConnection) -> None:
    """A claim without a first snapshot makes a row without a status, which a release deletes."""
    leases = claimed(connection, count, first=False)
    assert (
        columns(connection, "status, footer, payload, owner") == [(None, None, None, OWNER)] * count
    )
    connection.release([Release(*one.key, one.token) for one in leases])
    assert columns(connection, "id") == []


@pytest.mark.parametrize("count", NUMBERS)
def test_claim_of_owned_runs(count: int, connection: PostgresConnection) -> None:
    """A run with an owner stays with it, and the claim tells whose it is, and since when."""
    claimed(connection, count)
    asked = [Claim(lease(f"r{number}", 900 + number)) for number in range(count)]
    for run in connection.claim(asked, OTHER, 8.0):
        assert (run.owner, run.token, run.since) == (OWNER, 100 + run.number, 5.0)
    assert columns(connection, "owner") == [(OWNER,)] * count


@pytest.mark.parametrize("count", NUMBERS)
def test_claim_of_free_runs(count: int, connection: PostgresConnection) -> None:
    """A free run gets the new owner, and keeps its snapshot, whose facts come with the claim."""
    leases = claimed(connection, count)
    assert connection.save_statuses(saves(leases, header(2, "failed")), OWNER) == count
    connection.write_ending(leases[0].key, '"why"\n')
    asked = [Claim(lease(f"r{number}", 900 + number)) for number in range(count)]
    with connection.transaction():
        runs = by_number(connection.claim(asked, OTHER, 8.0))
    for number, run in enumerate(runs):
        assert (run.row, run.token, run.owner) == (leases[number].row, 900 + number, OTHER)
        assert (run.footer, run.payload_length) == (f"f{number}".encode(), 2)
        assert (run.status, run.run_number, run.position, run.sequence) == ("failed", 1, 0, 2)
        assert run.ending == (number == 0)
    assert columns(connection, "owner, claimed_at") == [(OTHER, 8.0)] * count


@pytest.mark.parametrize("count", NUMBERS)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("status", ["running", "failed", "stopped", "queued", "finished"])
def test_claim_that_commits_by_itself(
    status: str, count: int, connection: PostgresConnection, *, together: bool
) -> None:
    """It takes no unfinished run, whose start would be counted in another commit."""
    leases = claimed(connection, count)
    assert connection.save_statuses(saves(leases, header(2, status)), OWNER) == count
    connection.release([Release(*one.key, one.token) for one in leases])
    snapshot = (header(1), b"payload", b"footer")
    asked = [Claim(lease(f"r{number}", 900 + number), snapshot) for number in range(count)]
    if together:
        done = connection.write_together(asked, [], [], OTHER, 8.0)
        assert done is not None
        runs = done[0]
    else:
        runs = connection.claim(asked, OTHER, 8.0)
    takes = status == "finished"
    assert sorted((run.number, run.owner, run.token, run.status) for run in runs) == [
        (number, OTHER if takes else None, 900 + number if takes else 0, status)
        for number in range(count)
    ]
    assert columns(connection, "owner") == [(OTHER if takes else None,)] * count


def test_claims_of_all_kinds(connection: PostgresConnection) -> None:
    """One statement tells new, free and owned runs apart."""
    leases = claimed(connection, 4)
    connection.save_statuses(saves(leases[:2], header(2, "stopped")), OWNER)
    names = ["r3", "new", "r0", "r2", "r1"]
    asked = [Claim(lease(name, 900 + number)) for number, name in enumerate(names)]
    with connection.transaction():
        runs = by_number(connection.claim(asked, OTHER, 8.0))
    got = {names[run.number]: run.token == 900 + run.number for run in runs}
    assert got == {"r3": False, "new": True, "r0": True, "r2": False, "r1": True}


def test_long_footer(connection: PostgresConnection) -> None:
    """A long footer is not sent with the claim. It is read when it is needed."""
    (one,) = claimed(connection, 1)
    long = Save(one, header(2, "stopped"), b"p", b"f" * 5000, None)
    connection.save_statuses([long], OWNER)
    (run,) = connection.claim([Claim(lease("r0", 900))], OTHER, 8.0)
    assert run.footer == b""
    assert connection.read_footer(one.key) == (b"f" * 5000, 1)


@pytest.mark.parametrize("count", NUMBERS)
def test_steps(count: int, connection: PostgresConnection) -> None:
    """Steps are stored under their tokens, and storing them again changes nothing."""
    leases = claimed(connection, count)
    some = saves(leases, header(2))
    for _ in range(2):
        assert connection.save_steps(some) == count
        assert columns(connection, "footer, payload, sequence, status, owner") == [
            (f"f{number}".encode(), f"p{number}".encode(), 2, "running", OWNER)
            for number in range(count)
        ]
    assert connection.stored(some) == set(range(count))


@pytest.mark.parametrize("count", NUMBERS)
def test_steps_of_lost_leases(count: int, connection: PostgresConnection) -> None:
    """A row that has another token, or none, is not written, and the others are."""
    leases = claimed(connection, count)
    leases[0].token += 1000
    some = saves(leases, header(2))
    assert connection.save_steps(some) == count - 1
    assert connection.stored(some) == set(range(1, count))
    leases[0].token = 0
    connection.free(OWNER, None)
    assert connection.save_steps(saves(leases, header(3))) == 0


@pytest.mark.parametrize("count", NUMBERS)
def test_ends(count: int, connection: PostgresConnection) -> None:
    """The end of a run releases it, and is found stored where the answer to it was lost."""
    leases = claimed(connection, count)
    for one in leases:
        connection.write_ending(one.key, '"why"\n')
    some = saves(leases, replace(header(2, "stopped"), stopped_by="drain"))
    assert connection.save_statuses(some, OWNER) == count
    assert connection.save_statuses(some, OWNER) == 0
    assert connection.stored(some) == set(range(count))
    assert connection.with_ending(some) == set(range(count))
    names = "status, stopped_by, owner, token, due, ending"
    assert columns(connection, names) == [("stopped", "drain", None, 0, 0.0, '"why"\n')] * count


@pytest.mark.parametrize("count", NUMBERS)
def test_ends_for_good(count: int, connection: PostgresConnection) -> None:
    """The end of a run for good takes its request to end with it."""
    leases = claimed(connection, count)
    for one in leases:
        connection.write_ending(one.key, '"why"\n')
    some = saves(leases, header(2, "finished"))
    connection.save_statuses(some, OWNER)
    assert connection.with_ending(some) == set()
    assert columns(connection, "status, due, ending") == [("finished", None, None)] * count
    connection.write_ending(leases[0].key, '"late"\n')
    assert connection.read_ending(leases[0].key) is None


@pytest.mark.parametrize("count", NUMBERS)
def test_running_status(count: int, connection: PostgresConnection) -> None:
    """A run that begins anew keeps owner and token, and gets number and time."""
    leases = claimed(connection, count)
    connection.save_statuses(saves(leases, header(2, number=2)), OWNER)
    assert (
        columns(connection, "status, number, owner, started_at")
        == [("running", 2, OWNER, 1.5)] * count
    )


@pytest.mark.parametrize("step", ODD_STEPS)
@pytest.mark.parametrize("count", NUMBERS)
def test_odd_steps(count: int, step: str, connection: PostgresConnection) -> None:
    """A step has any name."""
    leases = claimed(connection, count)
    assert connection.save_steps(saves(leases, header(2, step=step))) == count
    assert columns(connection, "step") == [(step.encode("utf-8", "surrogatepass"),)] * count


@pytest.mark.parametrize("count", NUMBERS)
def test_kept_snapshots(count: int, connection: PostgresConnection) -> None:
    """Copies are kept of what is replaced, and those beyond `keep` are deleted."""
    leases = claimed(connection, count, keep=3)
    for sequence in range(2, 7):
        some = saves(leases, header(sequence), str(sequence).encode())
        for _ in range(2):  # The first try was committed, and its answer was lost.
            connection.retain(some)
            connection.save_steps(some)
            connection.prune(some)
    key = leases[0].key
    # The second try has kept a copy of the newest snapshot as well.
    assert connection.read_kept(key) == [(1, 6), (1, 5)]
    assert connection.read_snapshot(key, (1, 5)) == (b"50", b"f0")
    connection.save_steps(saves(leases, header(7)))
    amending = [replace_amends(save) for save in saves(leases, header(8))]
    connection.retain(amending)
    connection.save_steps(amending)
    assert connection.read_kept(key) == [(1, 6), (1, 5)]


def replace_amends(save: Save) -> Save:
    """Make a request that amends the snapshot before."""
    return Save(save.lease, save.header, save.payload, save.footer, header(6))


@pytest.mark.parametrize("count", NUMBERS)
def test_nothing_to_keep(count: int, connection: PostgresConnection) -> None:
    """A row without a snapshot has nothing to keep a copy of."""
    leases = claimed(connection, count, first=False, keep=3)
    connection.retain(saves(leases, header(1)))
    assert connection.server.rows("SELECT run FROM SCHEMA.kept") == []


@pytest.mark.parametrize("count", NUMBERS)
def test_all_kept_of_the_last_run(count: int, connection: PostgresConnection) -> None:
    """With "all", copies of other runs are deleted, earlier and later ones."""
    leases = claimed(connection, count, keep="all")
    for number, sequence in ((1, 2), (1, 3), (3, 4), (2, 5), (2, 6)):
        some = saves(leases, header(sequence, number=number))
        connection.retain(some)
        connection.save_statuses(some, OWNER)
        connection.prune(some)
    assert [connection.read_kept(one.key) for one in leases] == [[(2, 5)]] * count


@pytest.mark.parametrize("count", NUMBERS)
def test_release_takes_a_start_back(count: int, connection: PostgresConnection) -> None:
    """A refused run gets the status and the start that it had, however often it is released."""
    leases = claimed(connection, count)
    record = json.dumps({"a": 'b"\\'})
    starts = [StartRow(one.row, one.token, "paused", record) for one in leases]
    connection.record_starts(starts)
    assert columns(connection, "status, start") == [("paused", record)] * count
    before = [Release(*one.key, one.token, ("failed", "{}")) for one in leases]
    for _ in range(2):
        connection.release(before)
        assert (
            columns(connection, "status, start, owner, token")
            == [("failed", "{}", None, 0)] * count
        )


@pytest.mark.parametrize("count", NUMBERS)
def test_recorded_start(count: int, connection: PostgresConnection) -> None:
    """A start is recorded under the token alone, and takes the place of what became of the last."""
    claimed(connection, count)
    connection.free(OWNER, "killed")
    asked = [lease(f"r{number}", 900 + number) for number in range(count)]
    runs = connection.claim([Claim(one) for one in asked], OTHER, 8.0)
    assert [run.lost for run in runs] == ["killed"] * count
    connection.record_starts([StartRow(run.row, 7, "paused", "{}") for run in runs])
    assert columns(connection, "status, start, lost") == [("running", None, "killed")] * count
    connection.record_starts([StartRow(run.row, run.token, "paused", "{}") for run in runs])
    assert columns(connection, "status, start, lost") == [("paused", "{}", None)] * count


def test_delete(connection: PostgresConnection) -> None:
    """A deleted run leaves nothing behind its release, and only its owner deletes it."""
    (one,) = claimed(connection, 1, keep=3)
    connection.retain(saves([one], header(2)))
    connection.write_progress([(one, b"record")])
    stranger = LeaseRecord(one.key, "", 1, row=one.row, token=one.token + 1)
    assert not connection.delete(stranger)
    assert connection.read_kept(one.key) == [(1, 1)]
    assert connection.delete(one)
    assert connection.delete(one)
    assert connection.read_snapshot(one.key, None) is None
    assert connection.read_kept(one.key) == []
    assert connection.read_progress(one.key) is None
    connection.release([Release(*one.key, one.token)])
    assert columns(connection, "id") == []


@pytest.mark.parametrize("count", NUMBERS)
def test_progress(count: int, connection: PostgresConnection) -> None:
    """A record of progress is stored and deleted under the token alone."""
    leases = claimed(connection, count)
    connection.write_progress([(one, b"first") for one in leases])
    connection.write_progress([(one, b"second\0") for one in leases])
    assert [connection.read_progress(one.key) for one in leases] == [b"second\0"] * count
    lost = [LeaseRecord(one.key, "", 1, row=one.row, token=one.token + 1000) for one in leases]
    connection.write_progress([(one, b"late") for one in lost] + [(one, b"") for one in lost])
    assert [connection.read_progress(one.key) for one in leases] == [b"second\0"] * count
    connection.write_progress([(one, b"") for one in leases])
    assert [connection.read_progress(one.key) for one in leases] == [None] * count


def test_requests_to_end(connection: PostgresConnection) -> None:
    """The first request stays until it is deleted by the owner."""
    (one,) = claimed(connection, 1)
    connection.write_ending(one.key, '"first"\n')
    connection.write_ending(one.key, '"second"\n')
    assert connection.read_endings(b"f") == {b"r0": '"first"\n'}
    connection.clear_ending(LeaseRecord(one.key, "", 1, row=one.row, token=7))
    assert connection.read_ending(one.key) == '"first"\n'
    connection.clear_ending(one)
    assert connection.read_ending(one.key) is None


@pytest.mark.parametrize("count", NUMBERS)
def test_queued_runs(count: int, connection: PostgresConnection) -> None:
    """Queued runs are inserted once, and those with another row are told."""
    common = QueuedColumns(b"f", 0, "first\0", 1, "queued", 1, 4.5)
    rows = [
        QueuedRow(f"q{number}".encode(), 9.0, f"foot{number}".encode(), b"payload")
        for number in range(count)
    ]
    assert connection.insert_queued(common, rows) == set()
    assert connection.insert_queued(common, rows) == set()  # The answer was lost.
    names = "status, step, due, started_at, token, owner"
    assert columns(connection, names) == [("queued", b"first\0", 4.5, 9.0, 0, None)] * count
    others = [row._replace(footer=b"other") for row in rows]
    assert connection.insert_queued(common, others) == set(range(count))
    connection.insert_queued(common._replace(due=None, step=None), [rows[0]._replace(run_id=b"x")])
    assert columns(connection, "due, step")[-1] == (None, None)


def test_owners(connection: PostgresConnection) -> None:
    """Owners are renewed, told with their sessions, drained, and deleted with their leases."""
    connection.free(OWNER, None)
    beat = OwnerBeat(OWNER, "höst", "boot", 5, "2026", 1, 30.0, connection.session)
    for number in (1, 2):
        connection.heartbeat(beat._replace(beat=number))
    connection.heartbeat(OwnerBeat(OTHER, "h", "", 6, "2026", 1, 9.0, "12345"))
    connection.note_draining(OTHER)
    connection.note_draining(OTHER)
    mine, other = sorted(connection.owners(None))
    assert mine[:8] == (OWNER, "h\\xf6st", "boot", 5, "2026", 2, 30.0, connection.session)
    assert (mine.session_open, mine.draining) == (True, False)
    assert (other.session_open, other.draining) == (False, True)
    assert mine.silent is not None
    assert 0 <= mine.silent < 60
    assert [owner.id for owner in connection.owners([OTHER, "c" * 16])] == [OTHER]
    assert connection.owners([]) == []


def test_freed_runs(connection: PostgresConnection) -> None:
    """The runs of an owner that is gone are free, and those that have stored nothing are gone."""
    leases = claimed(connection, 3)
    nothing = lease("zz", 500)
    connection.claim([Claim(nothing)], OWNER, 5.0)
    connection.note_draining(OWNER)
    for _ in range(2):
        connection.free(OWNER, "killed")
        assert columns(connection, "owner, token, lost") == [(None, 0, "killed")] * 3
    assert [owner.id for owner in connection.owners(None)] == [OTHER]
    assert connection.server.rows("SELECT * FROM SCHEMA.draining_owners") == []
    connection.claim([Claim(lease("r0", 900))], OTHER, 8.0)
    connection.free(OTHER, None)
    assert columns(connection, "lost") == [("killed",)] * 3
    assert connection.save_steps(saves(leases, header(2))) == 0


def test_claim_without_a_row(connection: PostgresConnection) -> None:
    """An owner that others have taken for gone takes nothing until it has beaten again."""
    claimed(connection, 2)
    connection.free(OWNER, "killed")
    asked = [Claim(lease(name, 900 + n)) for n, name in enumerate(("r0", "r1", "new"))]
    with connection.transaction():
        found = by_number(connection.claim(asked, OWNER, 8.0))
    assert [(run.number, run.owner, run.token) for run in found] == [(0, None, 0), (1, None, 0)]
    register(connection, OWNER)
    with connection.transaction():
        found = by_number(connection.claim(asked, OWNER, 8.0))
    assert [(run.owner, run.token) for run in found] == [(OWNER, 900), (OWNER, 901), (OWNER, 902)]


@pytest.mark.parametrize("count", NUMBERS)
def test_late_snapshots(count: int, connection: PostgresConnection) -> None:
    """A snapshot that comes behind a later one changes nothing, unless it ends the run."""
    leases = claimed(connection, count)
    assert connection.save_steps(saves(leases, header(4))) == count
    late = saves(leases, header(3))
    assert connection.save_steps(late) == connection.save_statuses(late, OWNER) == 0
    assert columns(connection, "sequence") == [(4,)] * count
    again = saves(leases, header(4))
    assert connection.save_steps(again) == connection.save_statuses(again, OWNER) == count
    anew = saves(leases, header(2, number=2))
    assert connection.save_statuses(anew, OWNER) == count
    ended = saves(leases, header(1, "stopped", number=2))
    assert connection.save_statuses(ended, OWNER) == count
    assert columns(connection, "sequence, token") == [(1, 0)] * count


def test_transaction(connection: PostgresConnection, database_url: str) -> None:
    """Statements of a transaction are committed together, or not at all."""

    def failing() -> None:
        with connection.transaction():
            connection.note_draining("b")
            raise KeyError

    with connection.transaction():
        connection.note_draining("a")
        with psycopg.connect(database_url) as other:
            seen = other.execute("SELECT count(*) FROM aiocheckpoint.draining_owners").fetchone()
            assert seen == (0,)
    with pytest.raises(KeyError):
        failing()
    assert connection.server.rows("SELECT id FROM SCHEMA.draining_owners") == [("a",)]


def test_failed_statement_in_a_transaction(connection: PostgresConnection) -> None:
    """A transaction in which a statement has failed cannot be taken for a committed one."""

    def ignoring() -> None:
        with connection.transaction():
            connection.note_draining("a")
            with pytest.raises(StorageError):
                connection.server.write("INSERT INTO SCHEMA.nothing VALUES (1)")

    with pytest.raises(StorageError, match="rolled back"):
        ignoring()
    assert connection.server.rows("SELECT id FROM SCHEMA.draining_owners") == []


def mixed(connection: PostgresConnection, count: int) -> tuple[list[Claim], list[Save], list[Save]]:
    """Give claims of new runs, and steps and ends of others."""
    leases = claimed(connection, 2 * count)
    snapshot = (header(1), b"payload", b"footer")
    claims = [Claim(lease(f"new{number}", 900 + number), snapshot) for number in range(count)]
    steps = saves(leases[:count], header(2))
    return claims, steps, saves(leases[count:], header(2, "finished"))


@pytest.mark.parametrize("count", NUMBERS)
def test_together(count: int, connection: PostgresConnection) -> None:
    """Claims, steps and ends are one transaction, which can be repeated as a whole."""
    claims, steps, ends = mixed(connection, count)
    done = connection.write_together(claims, steps, ends, OWNER, 5.0)
    assert done is not None
    assert by_number(done[0]) == by_number(connection.claim(claims, OWNER, 7.0))
    assert done[1] == 2 * count
    again = connection.write_together(claims, steps, ends, OWNER, 8.0)
    assert again is not None
    assert (by_number(again[0]), again[1]) == (by_number(done[0]), count)  # Ends are released.
    assert connection.stored([*steps, *ends]) == set(range(2 * count))
    some = connection.write_together([], steps, ends, OWNER, 9.0)
    assert some == ([], count)


def test_together_or_not_at_all(connection: PostgresConnection) -> None:
    """One statement that is refused undoes the others, and the connection goes on."""
    claims, steps, ends = mixed(connection, 2)
    connection.server.write(
        "ALTER TABLE SCHEMA.runs ADD CONSTRAINT no_end CHECK (status <> 'finished')"
    )
    before = columns(connection, "run_id, status, sequence, token")
    with pytest.raises(StorageError, match="23514"):
        connection.write_together(claims, steps, ends, OWNER, 5.0)
    assert columns(connection, "run_id, status, sequence, token") == before
    assert connection.write_together(claims, steps, [], OWNER, 5.0) is not None
    assert len(columns(connection, "id")) == len(before) + 2


def test_together_behind_a_pooler(pooler: PgBouncer, database: str) -> None:
    """A pooler gets one statement after the other."""
    with connected(pooler.url(database)) as connection:
        register(connection, OWNER)
        claims, steps, ends = mixed(connection, 2)
        assert connection.write_together(claims, steps, ends, OWNER, 5.0) is None
        assert len(columns(connection, "id")) == 4


def test_overlapping_claims(database_url: str) -> None:
    """Two processes that claim 2,000 runs in opposite orders both end, and each run has one."""
    results: list[list[StoredRun]] = []
    barrier = threading.Barrier(2)
    # Half of the runs exist and are free, so that both parts of the statement meet.
    with connected(database_url) as first, connected(database_url) as second:
        register(first, OWNER, OTHER)
        leases = [lease(f"r{number:04}", 1 + number) for number in range(0, 2000, 2)]
        snapshot = (header(1), b"p", b"f")
        first.claim([Claim(one, snapshot) for one in leases], OWNER, 1.0)
        first.free(OWNER, None)
        register(first, OWNER)

        def claim(connection: PostgresConnection, owner: str, step: int) -> None:
            names = [f"r{number:04}" for number in range(2000)][::step]
            start = 10_000 if step > 0 else 20_000
            asked = [
                Claim(lease(name, start + number), snapshot) for number, name in enumerate(names)
            ]
            barrier.wait()
            with connection.transaction():
                runs = connection.claim(asked, owner, 2.0)
            results.append([run for run in runs if run.token >= start and run.owner == owner])
            assert len(runs) == 2000

        threads = [
            threading.Thread(target=claim, args=(first, OWNER, 1)),
            threading.Thread(target=claim, args=(second, OTHER, -1)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(map(len, results)) == 2000
        counted = first.server.rows("SELECT count(DISTINCT run_id), count(*) FROM SCHEMA.runs")
        assert counted == [(2000, 2000)]
