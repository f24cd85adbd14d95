"""Batches of requests that one transaction may carry out in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased._requests import Claim, Execute, Save
from aiocheckpoint.handlers.leased._writer import MOST_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["Batch", "into_batches"]


@dataclass(slots=True)
class Batch:
    """Requests in any order: each concerns another run, or there is only one request.

    Attributes:
        claims: Requests that claim runs.
        steps: Requests that store a snapshot of a run that was running and stays so.
        status_changes: Requests that store a snapshot with another status, at the begin or end of a
            run.
        with_progress: The members of `steps` and `status_changes` that store a record of progress,
            or delete one.
        retaining: The members of `steps` and `status_changes` whose runs keep older snapshots.
        other: A request of another kind, alone in its batch.
    """

    claims: list[PendingResult[Any]] = field(default_factory=list)
    steps: list[PendingResult[Any]] = field(default_factory=list)
    status_changes: list[PendingResult[Any]] = field(default_factory=list)
    with_progress: list[PendingResult[Any]] = field(default_factory=list)
    retaining: list[PendingResult[Any]] = field(default_factory=list)
    other: PendingResult[Any] | None = None

    def add(self, pending: PendingResult[Any]) -> None:
        """Add a request whose run no other member concerns."""
        request = pending.request
        if isinstance(request, Save):
            (self.steps if request.keeps_running else self.status_changes).append(pending)
            if request.lease.keep != 1:
                self.retaining.append(pending)
            if request.progress is not None:
                self.with_progress.append(pending)
        elif isinstance(request, Claim):
            self.claims.append(pending)
        else:
            self.other = pending

    @property
    def is_plain(self) -> bool:
        """Whether the batch has snapshots and claims of probably new runs, and nothing else."""
        if self.other is not None or self.retaining or self.with_progress:
            return False
        return all(pending.request.first_snapshot for pending in self.claims)

    @property
    def is_one_statement(self) -> bool:
        """Whether one statement, without a transaction around it, does the whole batch.

        Never with claims: if reading the token failed after the claim, the run would stay taken.
        """
        if self.other is not None:
            return isinstance(self.other.request, Execute) and self.other.request.rows > 0
        if self.retaining or self.with_progress or self.claims:
            return False
        lengths = [len(group) for group in (self.steps, self.status_changes) if group]
        return len(lengths) == 1 and lengths[0] <= MOST_REQUESTS

    @property
    def is_new(self) -> bool:
        """Whether the batch only claims runs, each with a first snapshot to store."""
        if self.other is not None or self.retaining or self.steps or self.status_changes:
            return False
        return len(self.claims) <= MOST_REQUESTS and all(
            pending.request.first_snapshot for pending in self.claims
        )


def into_batches(group: Sequence[PendingResult[Any]]) -> Iterator[Batch]:
    """Cut requests, in their order, into batches whose members may be done in any order."""
    batch = Batch()
    keys: set[object] = set()
    for pending in group:
        key = pending.request.key
        if keys and (key is None or key in keys or None in keys):
            yield batch
            batch, keys = Batch(), set()
        batch.add(pending)
        keys.add(key)
    if keys:
        yield batch
