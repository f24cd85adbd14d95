"""Changes of stored runs under their locks: the header alone, and the state stays as it is."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._model.start_record import Ownership, shown_header
from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint._model.submission import requeued
from aiocheckpoint.errors import RunInProgressError, RunNotFoundError, RunStatusError
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = [
    "replace_header",
    "requeue_stored",
    "settle_ending",
    "settle_left_ending",
    "terminate_stored",
]


def replace_header(
    handler: SnapshotPort, run_id: str | None, found: StoredSnapshot, changed: Header, *, lock: Lock
) -> Header:
    """Store another header with the stored payload.

    Args:
        handler: The store.
        run_id: The run, or None.
        found: Its newest snapshot.
        changed: The header in the place of that one's.
        lock: Its lock, which is held. A database releases it where the change ends the run.

    Returns:
        The header as it is stored then.

    Raises:
        CheckpointError: The snapshot is not sound, or cannot be written.
    """
    copy = partial(handler.codec.copy, changed, found)
    return handler.replace(run_id, copy, found.header, lock=lock)[0]


def requeue_stored(
    handler: SnapshotPort,
    run_id: str | None,
    actor: str | None = None,
    where: RunFilter = ALL,
) -> Header:
    """Make a stored run due now, and give the header that is stored then.

    Args:
        handler: The store.
        run_id: The run, or None.
        actor: Who does so, or why.
        where: The filter that chose it. It may have been changed before its lock was taken.

    Raises:
        RunStatusError: It does not fit the filter any more.
        CheckpointError: It is refused, or the store cannot be read or written.
    """
    location = handler.locate(run_id)
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        if found is None:
            raise RunNotFoundError(location, "queue again")
        record = handler.ownership(run_id).record
        _check_fits(found.header, record, where, location)
        number = 0 if record is None or not record.starts else record.number
        is_started = 0 < number == found.header.number
        at, known = time.time(), found.header
        header = requeued(known, location, at=at, started=is_started, actor=actor)
        header = replace_header(handler, run_id, found, header, lock=lock)
        # A request to end it came earlier than this. It stays if the header could not be replaced.
        # A database has deleted it in the same statement, see `SAVE_STATUS`.
        handler.clear_ending(run_id, lock)
        return header


def _check_fits(
    header: Header, record: StartRecord | None, where: RunFilter, location: str
) -> None:
    """Check under the lock of a run that the filter which chose it still does.

    Raises:
        RunStatusError: It does not.
    """
    shown = shown_header(header, Ownership(record))
    if not where.wants(shown):
        reason = f"the run in {location} does not fit the filter any more: it is {shown.status}."
        raise RunStatusError(location, shown.status, reason)


def terminate_stored(
    handler: SnapshotPort, run_id: str | None, reason: str, lock: Lock
) -> Header | None:
    """Terminate a stored run by hand, under its lock, and delete a request to do so.

    Args:
        handler: The store.
        run_id: The run, or None.
        reason: The reason.
        lock: Its lock, which is held. A database releases it with this change.

    Returns:
        The header that is stored then. One that had ended for good is unchanged. None where
        nothing is stored.

    Raises:
        CheckpointError: The snapshot is not sound, or cannot be written.
    """
    with handler.stored(run_id) as found:
        header = None if found is None else found.header
        if found is not None and header is not None and header.status not in ENDED:
            changed = header.terminated(by="hand", reason=reason, at=time.time())
            header = replace_header(handler, run_id, found, changed, lock=lock)
            handler.write_start(run_id, None, lock=lock)  # The next start counts from 1.
    handler.clear_ending(run_id, lock)
    return header


def settle_ending(handler: SnapshotPort, run_id: str | None, lock: Lock) -> Header | None:
    """Do as `terminate_stored` where a request was left that no owner has seen.

    Returns:
        The header of a run that was terminated. None where there was no request, or the run had
        ended for good.
    """
    reason = handler.read_ending(run_id, lock=lock)
    if reason is None:
        return None
    header = terminate_stored(handler, run_id, reason, lock)
    return header if header is not None and header.status == "terminated" else None


def settle_left_ending(handler: SnapshotPort, run_id: str | None, lock: Lock) -> None:
    """Do as `settle_ending` behind the release of a lock, for a request that came before it.

    `aterminate` stores the request, then tries the lock. The owner releases the lock, then reads
    the request. So at least one sees the other.

    Args:
        handler: The store.
        run_id: The run, or None.
        lock: Its lock, not held any more.
    """
    if handler.read_ending(run_id, lock=lock) is None:
        return
    with suppress(RunInProgressError), handler.locked(run_id) as own:
        settle_ending(handler, run_id, own)
