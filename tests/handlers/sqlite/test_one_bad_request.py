"""A request that SQLite cannot take fails alone, with a documented error."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from batch_harness import BatchHarness

from aiocheckpoint import LeaseLostError, StorageError
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.leased._requests import Execute

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

CROWD = 27
ODD: dict[str, dict[str, Any]] = {
    "surrogate": {"next_step": "b\ud800"},
    "large": {"sequence": 1 << 63},
    "small": {"number": -(1 << 63) - 1},
    "text": {"position": "\udc00"},
    "object": {"status": object()},
}


def spoil(job: PendingResult[Any], odd: dict[str, Any]) -> PendingResult[Any]:
    """Change the header of a job to one that no column can hold."""
    if hasattr(job.request, "first_snapshot"):
        header, *rest = job.request.first_snapshot
        spoilt = replace_header(header, odd), *rest
        job.request = job.request._replace(first_snapshot=spoilt)
    else:
        job.request.header = replace_header(job.request.header, odd)
    return job


def replace_header(header: Any, odd: dict[str, Any]) -> Any:  # noqa: ANN401
    """Give a header other values, properties included."""
    if "next_step" in odd:
        return replace(header, steps=(odd["next_step"],), position=0)
    return replace(header, **odd)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["begin", "running", "end"])
@pytest.mark.parametrize("place", [0, CROWD // 2, CROWD])
def test_fails_alone(place: int, operation: str, odd: str, tmp_path: Path) -> None:
    """The others of its transaction are stored."""
    harness = BatchHarness(str(tmp_path))
    with closing(harness):
        job = spoil(harness.job(operation, "v" if operation != "begin" else "odd", 1), ODD[odd])
        others = [harness.job("begin", f"good {number}", 1) for number in range(CROWD)]
        done = harness.apply([*others[:place], job, *others[place:]])
        errors = [one.error for one in done if one is not job]
        assert errors == [None] * CROWD
        if job.error is None:
            pytest.skip("this column takes the value")
        assert type(job.error) is StorageError
        assert "runs.db" in str(job.error)
        stored = {row[0]: row[1:4] for row in harness.rows()}
        assert {stored[f"good {number}"][1:] for number in range(CROWD)} == {("running", 1)}
        assert "odd" not in stored


def test_error_of_the_transaction_that_was_rolled_back(tmp_path: Path) -> None:
    """A request that is done again, alone, has the outcome of that time."""
    harness = BatchHarness(str(tmp_path))
    outcomes = iter([LeaseLostError("v"), None])

    def refused_once(_: sqlite3.Connection) -> str:
        error = next(outcomes)
        if error is not None:
            raise error
        return "done"

    with closing(harness):
        again: PendingResult[Any] = PendingResult(Execute(refused_once), None)
        harness.apply([again, spoil(harness.job("running", "v", 1), ODD["large"])])
        assert (again.result, again.error) == ("done", None)
