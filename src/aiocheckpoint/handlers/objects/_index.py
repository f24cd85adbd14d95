"""New names of runs for the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.handlers.objects._names import NOBODY, IndexName, bytes_of, key_part

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.objects._run_object import RunHead
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["index_name"]


def index_name(session: ObjectSession, key: Key, head: RunHead) -> str:
    """Give a new name of a run for the index, below its flow."""
    is_free = head.status == "running" and head.owner is None
    owner = NOBODY if is_free else session.owner_id
    run, number = key_part(bytes_of(key[1])), session.next_number()
    due = None if head.status == "running" else head.due  # A killed one is due at once.
    name = IndexName(head.started_at, head.status or "", due, owner, number, run)
    return name.encode()
