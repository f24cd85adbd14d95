"""What is written together comes out as if it was written one after the other."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from desks import IDS, Desk, steal
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint import LeaseLostError, RunInProgressError
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.sqlite._requests import Call, Claim
from aiocheckpoint.handlers.sqlite._statements import SAVE_STEP

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

QUIET = settings(deadline=None, max_examples=40)
DEEDS = ("claim", "begin", "running", "finished", "give back", "steal", "count")
SEQUENCES = st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(IDS)), max_size=14)


def carry_out(
    deeds: Sequence[tuple[str, str]],
    bounds: Sequence[int],
    keep: Any,  # noqa: ANN401 - as a handler takes it
    *,
    together: bool,
) -> list[Any]:
    """Do deeds in batches, each together or one by one; tell all that came of it.

    Who is refused a run within a batch asks once more at its end.
    """
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place, keep)
        jobs = [desk.job(deed, run_id, number) for number, (deed, run_id) in enumerate(deeds)]
        for start, stop in itertools.pairwise(bounds):
            for some in [jobs[start:stop]] if together else [[job] for job in jobs[start:stop]]:
                desk.apply(some)
            for number in range(start, stop):
                if not together and isinstance(jobs[number].error, RunInProgressError):
                    (jobs[number],) = desk.apply([PendingResult(jobs[number].work, None)])
        leases = [job.work.lease for job in jobs if isinstance(job.work, Claim)]
        own = [(lease.token != 0, lease.running) for lease in (*leases, *desk.leases.values())]
        told = [type(job.error) if job.error is not None else None for job in jobs]
        seen = [job.result for job in jobs if isinstance(job.work, Call)]
        rows = desk.rows()
        desk.close()
    return [told, seen, own, rows]


@QUIET
@given(SEQUENCES, st.data(), st.sampled_from([1, 2, "all"]))
def test_batches_come_out_as_single_jobs(
    deeds: list[tuple[str, str]], data: st.DataObject, keep: object
) -> None:
    """Claims, saves, give-backs and calls in any batches have the outcome of one by one."""
    cuts = data.draw(st.lists(st.integers(0, len(deeds)), max_size=4))
    bounds = [0, *sorted(cuts), len(deeds)]
    one_by_one = carry_out(deeds, bounds, keep, together=False)
    assert carry_out(deeds, bounds, keep, together=True) == one_by_one


@QUIET
@given(st.sets(st.integers(0, 11)), st.integers(2, 12))
def test_lost_leases_fail_alone(lost: set[int], runs: int) -> None:
    """Of many snapshots written together, those under lost leases fail, and all others stay."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place)
        ids = [f"run {number}" for number in range(runs)]
        leases = [desk.lease(run_id) for run_id in ids]
        desk.apply([PendingResult(Claim(lease, None), None) for lease in leases])
        gone = [run_id for number, run_id in enumerate(ids) if number in lost]
        desk.apply([PendingResult(Call(partial(steal, run_id)), None) for run_id in gone])
        pairs = zip(leases, ids, strict=True)
        jobs = desk.apply([PendingResult(desk.save(*pair, "running", 3), None) for pair in pairs])
        errors = {run_id: job.error for run_id, job in zip(ids, jobs, strict=True)}
        assert {run_id for run_id, error in errors.items() if error is not None} == set(gone)
        assert all(isinstance(errors[run_id], LeaseLostError) for run_id in gone)
        stored = {row[0] for row in desk.rows() if row[2] == "running"}
        assert stored == set(ids) - set(gone)
        desk.close()


@QUIET
@given(st.integers(1, 600), st.integers(0, 3))
def test_many_rows_touch_their_own(rows: int, spared: int) -> None:
    """A statement of any number of rows changes those whose token fits, and no others."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place)

        def fill(connection: sqlite3.Connection) -> tuple[int, list[Any]]:
            connection.executemany(
                "INSERT INTO runs (id, flow, run_id, token, claimed_at) VALUES (?, 'g', ?, 7, 0)",
                [(1000 + number, str(number)) for number in range(rows + spared)],
            )
            values = [(1000 + n, 7 - n % 2, n, None, 1, 1.0, b"f", b"p") for n in range(rows)]
            done = sum(cursor.rowcount for cursor in SAVE_STEP.execute(connection, values))
            changed = connection.execute("SELECT position FROM runs WHERE payload IS NOT NULL")
            return done, sorted(position for (position,) in changed)

        (job,) = desk.apply([PendingResult(Call(fill), None)])
        assert job.error is None
        assert job.result == ((rows + 1) // 2, list(range(0, rows, 2)))
        desk.close()


def test_save_behind_the_last_one_is_refused() -> None:
    """What is asked for under a lease that the snapshot before gave back is stored by nobody."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place)
        late = desk.job("running", "v", 2)
        (last,) = desk.apply([desk.job("finished", "v", 1)])
        assert last.error is None
        before = desk.rows()
        desk.apply([late])
        assert isinstance(late.error, LeaseLostError)
        assert desk.rows() == before
        desk.close()


def test_two_claims_of_one_run_in_one_batch() -> None:
    """The first gets it, and the second is told that it is under way."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place)
        one, two = desk.apply([desk.job("claim", "y", 0), desk.job("claim", "y", 0)])
        assert one.error is None
        assert isinstance(two.error, RunInProgressError)
        desk.close()


def test_claim_of_a_run_that_is_just_given_back() -> None:
    """Who is refused a run that is gone a moment later, nothing being stored of it, gets it."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place)
        claim, _ = desk.apply([desk.job("claim", "v", 0), desk.job("give back", "v", 0)])
        assert claim.error is None
        assert claim.work.lease.token != 0
        desk.close()


def test_lost_lease_deletes_nothing_that_is_kept() -> None:
    """Whoever lost a run, and stores in vain, leaves alone what is kept of it."""
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(place, "all")
        for number in range(3):
            desk.apply([desk.job("running", "v", number)])
        desk.apply([desk.job("steal", "v", 0)])
        before = desk.rows()
        late = desk.save(desk.leases["v"], "v", "running", 7)
        (job,) = desk.apply(
            [PendingResult(late._replace(header=replace(late.header, number=2)), None)]
        )
        assert isinstance(job.error, LeaseLostError)
        assert desk.rows() == before
        desk.close()
