"""Operations in one group commit have the same outcome as one after another."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from batch_harness import IDS, BatchHarness, on_raw, steal
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint import LeaseLostError, RunInProgressError, StorageError
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.leased._requests import Claim, Execute
from aiocheckpoint.handlers.sqlite._processor import SqliteProcessor
from aiocheckpoint.handlers.sqlite._statements import SAVE_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

QUIET = settings(deadline=None, max_examples=40)
OPERATIONS = ("claim", "begin", "running", "finished", "give back", "steal", "count")
SEQUENCES = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(IDS)), max_size=14)


def carry_out(
    operations: Sequence[tuple[str, str]],
    bounds: Sequence[int],
    keep: Any,  # noqa: ANN401 - as a handler takes it
    *,
    together: bool,
) -> list[Any]:
    """Apply operations in batches, each together or one by one. Return every outcome.

    A claim refused within a batch is repeated at the end of the batch.
    """
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place, keep)
        jobs = [
            harness.job(operation, run_id, number)
            for number, (operation, run_id) in enumerate(operations)
        ]
        for start, stop in itertools.pairwise(bounds):
            for some in [jobs[start:stop]] if together else [[job] for job in jobs[start:stop]]:
                harness.apply(some)
            for number in range(start, stop):
                if not together and isinstance(jobs[number].error, RunInProgressError):
                    (jobs[number],) = harness.apply([PendingResult(jobs[number].request, None)])
        leases = [job.request.lease for job in jobs if isinstance(job.request, Claim)]
        leases += [lease.record for lease in harness.leases.values()]
        own = [(lease.token != 0, lease.running) for lease in leases]
        reported = [type(job.error) if job.error is not None else None for job in jobs]
        seen = [job.result for job in jobs if isinstance(job.request, Execute)]
        rows = harness.rows()
        harness.close()
    return [reported, seen, own, rows]


@QUIET
@given(SEQUENCES, st.data(), st.sampled_from([1, 2, "all"]))
def test_batches_come_out_as_single_jobs(
    operations: list[tuple[str, str]], data: st.DataObject, keep: object
) -> None:
    """Claims, saves, releases and calls in any batches have the same outcome as one by one."""
    cuts = data.draw(st.lists(st.integers(0, len(operations)), max_size=4))
    bounds = [0, *sorted(cuts), len(operations)]
    one_by_one = carry_out(operations, bounds, keep, together=False)
    assert carry_out(operations, bounds, keep, together=True) == one_by_one


@QUIET
@given(st.sets(st.integers(0, 11)), st.integers(2, 12))
def test_lost_leases_fail_alone(lost: set[int], runs: int) -> None:
    """Of many snapshots in one batch, only the ones under lost leases fail."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)
        ids = [f"run {number}" for number in range(runs)]
        leases = [harness.lease(run_id) for run_id in ids]
        harness.apply([PendingResult(Claim(lease.record, None), None) for lease in leases])
        gone = [run_id for number, run_id in enumerate(ids) if number in lost]
        harness.apply(
            [PendingResult(Execute(on_raw(partial(steal, run_id))), None) for run_id in gone]
        )
        pairs = zip(leases, ids, strict=True)
        jobs = harness.apply(
            [PendingResult(harness.save(*pair, "running", 3), None) for pair in pairs]
        )
        errors = {run_id: job.error for run_id, job in zip(ids, jobs, strict=True)}
        assert {run_id for run_id, error in errors.items() if error is not None} == set(gone)
        assert all(isinstance(errors[run_id], LeaseLostError) for run_id in gone)
        stored = {row[0] for row in harness.rows() if row[2] == "running"}
        assert stored == set(ids) - set(gone)
        harness.close()


@QUIET
@given(st.integers(1, 600), st.integers(0, 3))
def test_many_rows_touch_their_own(rows: int, spared: int) -> None:
    """A statement of any number of rows changes the rows with matching tokens, and no others."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)

        def fill(connection: sqlite3.Connection) -> tuple[int, list[Any]]:
            connection.executemany(
                "INSERT INTO runs (id, flow, run_id, token, claimed_at) VALUES (?, 'g', ?, 7, 0)",
                [(1000 + number, str(number)) for number in range(rows + spared)],
            )
            values = [(1000 + n, 7 - n % 2, n, None, 1, 1.0, b"f", b"p") for n in range(rows)]
            done = sum(cursor.rowcount for cursor in SAVE_STEP.execute(connection, values))
            changed = connection.execute("SELECT position FROM runs WHERE payload IS NOT NULL")
            return done, sorted(position for (position,) in changed)

        (job,) = harness.apply([PendingResult(Execute(on_raw(fill)), None)])
        assert job.error is None
        assert job.result == ((rows + 1) // 2, list(range(0, rows, 2)))
        harness.close()


def test_save_behind_the_last_one_is_refused() -> None:
    """A save under a lease that an earlier snapshot released is refused, and stores nothing."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)
        late = harness.job("running", "v", 2)
        (last,) = harness.apply([harness.job("finished", "v", 1)])
        assert last.error is None
        before = harness.rows()
        harness.apply([late])
        assert isinstance(late.error, LeaseLostError)
        assert harness.rows() == before
        harness.close()


def test_two_claims_of_one_run_in_one_batch() -> None:
    """The first claim gets the run. The second one fails with RunInProgressError."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)
        one, two = harness.apply([harness.job("claim", "y", 0), harness.job("claim", "y", 0)])
        assert one.error is None
        assert isinstance(two.error, RunInProgressError)
        harness.close()


def test_claim_of_a_run_that_is_just_given_back() -> None:
    """A claim gets a run that is released later in the same batch."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)
        claim, _ = harness.apply([harness.job("claim", "v", 0), harness.job("give back", "v", 0)])
        assert claim.error is None
        assert claim.request.lease.token != 0
        harness.close()


def test_lost_lease_deletes_nothing_that_is_kept() -> None:
    """A save under a lost lease deletes no kept snapshot of the run."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place, "all")
        for number in range(3):
            harness.apply([harness.job("running", "v", number)])
        harness.apply([harness.job("steal", "v", 0)])
        before = harness.rows()
        late = harness.save(harness.leases["v"], "v", "running", 7)
        (job,) = harness.apply(
            [PendingResult(replace(late, header=replace(late.header, number=2)), None)]
        )
        assert isinstance(job.error, LeaseLostError)
        assert harness.rows() == before
        harness.close()


def fail(_: sqlite3.Connection) -> None:
    """Fail a whole transaction."""
    raise sqlite3.OperationalError("disk I/O error")


def count_owners(connection: sqlite3.Connection) -> int:
    """Count the rows of owners."""
    return int(connection.execute("SELECT count(*) FROM owners").fetchone()[0])


def test_heartbeat_that_is_rolled_back() -> None:
    """The transaction after a failed one repeats its heartbeat, so the owner has a row."""
    with tempfile.TemporaryDirectory() as place:
        transactions = SqliteProcessor(
            f"{place}/runs.db", durable=False, lease=3600.0, before_opening=str
        )
        broken, counted = (
            PendingResult[Any](Execute(on_raw(do)), None) for do in (fail, count_owners)
        )
        transactions.apply([broken])
        transactions.apply([counted])
        transactions.close()
    assert isinstance(broken.error, StorageError)
    assert counted.result == 1


def insert(connection: sqlite3.Connection) -> bool:
    """Insert a row, and tell whether that is part of a transaction."""
    within = connection.in_transaction
    connection.execute("INSERT INTO draining_owners SELECT count(*) FROM draining_owners")
    return within


def insert_twice(connection: sqlite3.Connection) -> None:
    """Insert two rows of one key, which fails."""
    connection.execute("INSERT INTO draining_owners VALUES ('same'), ('same')")


def count_rows(connection: sqlite3.Connection) -> int:
    """Count the rows."""
    return int(connection.execute("SELECT count(*) FROM draining_owners").fetchone()[0])


def test_one_statement_for_many_rows() -> None:
    """A statement of many rows needs no transaction where it is alone, and fails alone."""
    with tempfile.TemporaryDirectory() as place:
        transactions = SqliteProcessor(
            f"{place}/runs.db", durable=False, lease=3600.0, before_opening=str
        )

        def apply(*functions: Callable[[sqlite3.Connection], object]) -> list[Any]:
            group = [PendingResult[Any](Execute(on_raw(do), 512), None) for do in functions]
            transactions.apply(group)
            return [one.result if one.error is None else type(one.error) for one in group]

        apply(count_owners)  # The transaction of the first heartbeat.
        assert apply(insert) == [False]
        assert apply(insert, insert) == [True, True]
        assert apply(insert, insert_twice, insert) == [False, StorageError, False]
        assert apply(count_rows) == [5]
        transactions.close()


def read_owner(connection: sqlite3.Connection) -> tuple[int, float]:
    """Read the count of heartbeats of the only owner, and when its lease ends."""
    ((beat, expires),) = connection.execute("SELECT beat, expires FROM owners").fetchall()
    return beat, expires


def test_renewal_that_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction after a failed one renews the lease that the failed one was to renew."""
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as place:
        transactions = SqliteProcessor(
            f"{place}/runs.db", durable=False, lease=30.0, before_opening=str
        )
        for now, do in (  # noqa: B007 - read by `monotonic`
            (1_000.0, read_owner),
            (1_009.0, read_owner),
            (1_011.0, fail),
            (1_012.0, read_owner),
            (1_013.0, read_owner),
        ):
            job = PendingResult[Any](Execute(on_raw(do)), None)
            transactions.apply([job])
            seen += [] if job.error is not None else [job.result]
        transactions.close()
    assert [expires for _, expires in seen] == [1_030.0, 1_030.0, 1_042.0, 1_042.0]
    assert seen[0] == seen[1] < seen[2] == seen[3]


def test_each_caller_has_an_error_of_its_own() -> None:
    """When a transaction fails, a note on the error of one caller is not on that of another."""
    with tempfile.TemporaryDirectory() as place:
        harness = BatchHarness(place)
        broken = PendingResult[Any](Execute(fail), None)
        one, two, _ = harness.apply(
            [harness.job("running", "v", 1), harness.job("running", "w", 1), broken]
        )
        harness.close()
    assert isinstance(one.error, StorageError)
    assert isinstance(two.error, StorageError)
    one.error.add_note("of one")
    assert str(one.error) == str(two.error)
    assert not hasattr(two.error, "__notes__")
