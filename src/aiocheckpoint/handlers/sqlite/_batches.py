"""Batches of requests that one transaction may carry out in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.sqlite._requests import Claim, Save
from aiocheckpoint.handlers.sqlite._statements import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["Batch", "into_batches"]


@dataclass(slots=True)
class Batch:
    """Jobs in any order: each concerns another run, or there is only one job.

    Attributes:
        claims: Jobs that claim runs.
        steps: Jobs that store a snapshot of a run that was running and stays so.
        edges: Jobs that store a snapshot with another status, at the begin or end of a run.
        retaining: The members of `steps` and `edges` whose runs keep older snapshots.
        other: A job of another kind, alone in its batch.
    """

    claims: list[PendingResult[Any]] = field(default_factory=list)
    steps: list[PendingResult[Any]] = field(default_factory=list)
    edges: list[PendingResult[Any]] = field(default_factory=list)
    retaining: list[PendingResult[Any]] = field(default_factory=list)
    other: PendingResult[Any] | None = None

    def add(self, job: PendingResult[Any]) -> None:
        """Add a job whose run no other member concerns."""
        work = job.work
        if isinstance(work, Save):
            (self.steps if work.keeps_running else self.edges).append(job)
            if work.lease.keep != 1:
                self.retaining.append(job)
        elif isinstance(work, Claim):
            self.claims.append(job)
        else:
            self.other = job

    @property
    def is_one_statement(self) -> bool:
        """Whether one statement, without a transaction around it, does the whole batch.

        Never with claims: if reading the token failed after the claim, the run would stay taken.
        """
        if self.other is not None or self.retaining or self.claims:
            return False
        lengths = [len(jobs) for jobs in (self.steps, self.edges) if jobs]
        return len(lengths) == 1 and lengths[0] <= MOST_ROWS

    @property
    def is_new(self) -> bool:
        """Whether the batch only claims runs, each with a first snapshot to store."""
        if self.other is not None or self.retaining or self.steps or self.edges:
            return False
        return len(self.claims) <= MOST_ROWS and all(job.work.start for job in self.claims)


def into_batches(jobs: Sequence[PendingResult[Any]]) -> Iterator[Batch]:
    """Cut jobs, in their order, into batches whose members may be done in any order."""
    batch = Batch()
    keys: set[object] = set()
    for job in jobs:
        key = job.work.key
        if keys and (key is None or key in keys or None in keys):
            yield batch
            batch, keys = Batch(), set()
        batch.add(job)
        keys.add(key)
    if keys:
        yield batch
