"""The fence: the conditions by which a statement writes only under the lease of a run.

A statement asks for the run's row and for the token of the lease. An owner that has lost its run
finds another token there. A lease that is not held has the token 0, and so has the row of a free
run. So 0 is sent as NULL, which equals nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import LeaseRecord

__all__ = ["LEASE", "OF_LEASE", "OF_ONE_LEASE", "fenced", "lease_columns", "lease_values"]

LEASE = {"run": "bigint", "held_token": "bigint"}
"""The columns of a lease in a `RowStatement`, and their types: the run's row, and the token."""

OF_LEASE = "WHERE runs.id = v.run AND runs.token = v.held_token"
"""The condition of a `RowStatement` with these columns."""

OF_ONE_LEASE = "WHERE id = %(run)s::bigint AND token = %(held_token)s::bigint"
"""The condition of a statement for one lease, by the values of `lease_values`."""


def fenced(token: int) -> int | None:
    """Give the token that a statement asks for, or None for 0."""
    return token or None


def lease_columns(lease: LeaseRecord) -> tuple[int, int | None]:
    """Give the values of the columns `LEASE`."""
    return lease.row, fenced(lease.token)


def lease_values(lease: LeaseRecord) -> dict[str, str | None]:
    """Give the values of `OF_ONE_LEASE` by name."""
    token = fenced(lease.token)
    return {"run": str(lease.row), "held_token": None if token is None else str(token)}
