"""Owners of runs as statements read them, with what the server knows of their sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased import SeenOwner

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JOIN_OWNERS", "SEEN_OWNER", "seen_owner"]

SEEN_OWNER = "owners.id, host, boot, pid, since, beat, lease, session, NULL::boolean, FALSE"
JOIN_OWNERS = "LEFT JOIN SCHEMA.owners ON owners.id = runs.owner"


def seen_owner(columns: Sequence[Any]) -> SeenOwner | None:
    """Make an owner from these columns. None where the join has found none."""
    return None if columns[0] is None else SeenOwner._make(columns)
