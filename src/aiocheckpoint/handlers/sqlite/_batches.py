"""Batches of requests that one transaction may carry out in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.sqlite._requests import Claim, Save
from aiocheckpoint.handlers.sqlite._statements import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["Batch", "batches"]


@dataclass(slots=True)
class Batch:
    """Jobs that may be done in any order: each is of another run, or it is one alone.

    Attributes:
        claims: Those that claim runs,
        steps: those that store a snapshot of a run that goes on, and
        edges: of one that begins or ends.
        keeping: Those of them that store a snapshot of a run of which older ones are kept.
        other: Any other job, alone.
    """

    claims: list[PendingResult[Any]] = field(default_factory=list)
    steps: list[PendingResult[Any]] = field(default_factory=list)
    edges: list[PendingResult[Any]] = field(default_factory=list)
    keeping: list[PendingResult[Any]] = field(default_factory=list)
    other: PendingResult[Any] | None = None

    def add(self, job: PendingResult[Any]) -> None:
        """Add a job, another one's run not being among them."""
        work = job.work
        if isinstance(work, Save):
            (self.steps if work.keeps_running else self.edges).append(job)
            if work.lease.keep != 1:
                self.keeping.append(job)
        elif isinstance(work, Claim):
            self.claims.append(job)
        else:
            self.other = job

    @property
    def is_one_statement(self) -> bool:
        """Whether one statement is all there is to do.

        Claims are none: a run that was taken, and its token not read, would stay taken.
        """
        if self.other is not None or self.keeping or self.claims:
            return False
        lengths = [len(jobs) for jobs in (self.steps, self.edges) if jobs]
        return len(lengths) == 1 and lengths[0] <= MOST_ROWS

    @property
    def is_new(self) -> bool:
        """Whether there is nothing to do but to claim runs, each with a first snapshot to store."""
        if self.other is not None or self.keeping or self.steps or self.edges:
            return False
        return len(self.claims) <= MOST_ROWS and all(job.work.start for job in self.claims)


def batches(jobs: Sequence[PendingResult[Any]]) -> Iterator[Batch]:
    """Cut jobs, in their order, into groups whose members may be done in any order."""
    group = Batch()
    keys: set[object] = set()
    for job in jobs:
        key = job.work.key
        if keys and (key is None or key in keys or None in keys):
            yield group
            group, keys = Batch(), set()
        group.add(job)
        keys.add(key)
    if keys:
        yield group
