"""Watching owners from a distance: whether nothing has changed for a whole lease.

All times are those of this process's monotonic clock. No clock of another process or machine is
compared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["HEARTBEATS_PER_LEASE", "Watches"]

HEARTBEATS_PER_LEASE = 3


class _Watch(NamedTuple):
    """What this process saw of an owner, for how many seconds it stayed so, and the last look."""

    evidence: object
    seconds: float
    looked_at: float


class Watches:
    """The looks of this process at the owners of one store."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def seconds_unchanged(self, owner: str, evidence: object, most_seconds: float) -> float:
        """Note a look, and give for how many seconds the same was seen.

        Args:
            owner: The owner.
            evidence: What this look found.
            most_seconds: The most that counts between two looks.
        """
        now, seconds = time.monotonic(), 0.0
        before = self._watches.get(owner)
        if before is not None and before.evidence == evidence:
            seconds = before.seconds + min(now - before.looked_at, most_seconds)
        self._watches[owner] = _Watch(evidence, seconds, now)
        return seconds

    def forget(self, owner: str) -> None:
        """Forget the looks at an owner."""
        self._watches.pop(owner, None)

    def forget_all_but(self, owners: Collection[str]) -> None:
        """Forget the looks at owners that are not among these."""
        self._watches = {key: self._watches[key] for key in owners if key in self._watches}
