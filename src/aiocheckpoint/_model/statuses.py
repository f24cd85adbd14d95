"""Sets of statuses: of runs that have ended for good, and of those that recovery takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status

__all__ = ["BEGUN", "ENDED", "TAKEN"]

ENDED: frozenset[Status] = frozenset({"finished", "terminated"})
"""Of runs that have ended for good."""
BEGUN: frozenset[Status] = frozenset({"running", "stopped", "paused", "failed", "cancelled"})
"""Of runs that have begun, and that `aresume_all` takes when they are due."""
TAKEN: frozenset[Status] = frozenset({"queued", *BEGUN})
"""Of runs that `awork` takes when they are due."""
