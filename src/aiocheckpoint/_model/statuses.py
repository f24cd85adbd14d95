"""Sets of statuses: of runs that have ended for good, and of those that can go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status

__all__ = ["BEGUN", "BROKEN", "ENDED", "TAKEN", "UNFINISHED"]

ENDED: frozenset[Status] = frozenset({"finished", "terminated"})
"""Of runs that have ended for good."""
BROKEN: frozenset[Status] = frozenset({"stopped", "failed", "cancelled"})
"""Of runs that have broken off, and wait for nothing."""
BEGUN: frozenset[Status] = frozenset({"running", "paused", *BROKEN})
"""Of runs that have begun, and that `aresume_all` takes when they are due."""
TAKEN: frozenset[Status] = frozenset({"queued", *BEGUN})
"""Of runs that `awork` takes when they are due."""
UNFINISHED: frozenset[Status] = frozenset({"terminated", *TAKEN})
"""Of all but finished runs."""
