"""Copying runs into another store as they are, without their flow."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.progress_record import encode_progress
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._inspecting import nothing_stored
from aiocheckpoint.handlers._locks import holding
from aiocheckpoint.handlers._refused_runs import RefusedRuns
from aiocheckpoint.handlers._stored_progress import stored_progress
from aiocheckpoint.handlers._urls import flow_name

if TYPE_CHECKING:
    import os

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint.handlers._addresses import StoreAddress
    from aiocheckpoint.handlers._base import StateHandler

__all__ = ["copy_runs"]


@front_door
def copy_runs(
    path: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    flow: str | None = None,
    secret: Secrets | None = None,
) -> int:
    """Copy the newest snapshot of each run into another store, as from SQLite to PostgreSQL.

    A copy is the same run: it has the same state, position, number, status and cursor, so that it
    goes on with the same idempotency keys. Nothing is unpickled. The first store keeps all it has,
    older snapshots included. Never let processes work on both: end them, copy, and start them with
    the new place. The starts of a run are counted anew there.

    Each run is locked in both stores while it is copied. Where the process is killed in between,
    call it again: what has been copied is left alone.

    Args:
        path: The path or URL of the store, as it is given to `CheckpointFlow`.
        to: The path or URL of the other store, which may have runs already.
        flow: The flow's name. Of a database only this flow's runs are copied, by default those of
            every flow. Of files by default the file name without its ending.
        secret: The secret of both stores, the signing one first. Required where runs are signed.

    Returns:
        The number of runs that were copied now.

    Raises:
        StorageError: Nothing is at `path`, or a store cannot be read or written.
        RunInProgressError: A run is in progress. All others are copied. A note names the refused.
        InvalidValueError: `to` has another snapshot of a run, or a run is signed and no secret is
            given. All others are copied. Or both are one store, or an argument is invalid.
        CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError: A run cannot be
            read, or is not signed with the secret. All others are copied.
        InvalidTypeError: An argument is of another type.
        UnknownHandlerError, MissingExtraError: No handler is known for a scheme, or it needs a
            module that is not installed.
    """
    source, target = find_store(path, flow, None), find_store(to, flow, None)
    for address in (source, target):
        address.check_whole("copy_runs")
    whole = source.open(source.flow or "")
    if whole.locate() == target.open(target.flow or "").locate():
        raise InvalidValueError(f"{source} is to be copied to itself. Give another place.")
    options: dict[str, Any] = {} if secret is None else {"secret": secret}
    refused, count = RefusedRuns("copy_runs", "copied"), 0
    with ExitStack() as opened:
        stores: dict[str, tuple[StateHandler, StateHandler]] = {}
        for found in whole.find_all_snapshots():
            name = found.flow or source.flow or flow_name(source.path)
            if name not in stores:
                stores[name] = (
                    _opened(opened, source, name, options),
                    _opened(opened, target, name, options),
                )
            with refused.collecting(found.location):
                count += _is_copied(*stores[name], found.run_id)
    if not stores and not whole.exists():
        raise nothing_stored(source, whole)
    refused.raise_first(count)
    return count


def _opened(
    opened: ExitStack, address: StoreAddress, name: str, options: dict[str, Any]
) -> StateHandler:
    handler = address.open(name, options)
    opened.callback(handler.close_unused)
    return handler


def _is_copied(source: StateHandler, target: StateHandler, run_id: str | None) -> bool:
    """Copy a run. False where it was copied before."""
    with (
        holding(source.lock_in_use(run_id)),
        holding(target.lock_in_use(run_id)) as lock,
        source.stored(run_id) as snapshot,
        target.stored(run_id) as present,
    ):
        if snapshot is None:  # It was deleted meanwhile.
            return False
        snapshot.checked_payload()
        if snapshot.header.signed_by is not None and not source.key_ids:
            raise InvalidValueError(
                f"{source.locate(run_id)} is signed, and its copy would not be. Pass the secret."
            )
        if present is not None:
            return _check_same(snapshot, present, target.locate(run_id))
        progress = stored_progress(source, run_id)
        if progress is not None:  # First, as a database may release the lock with the snapshot.
            record = encode_progress(progress, target.codec.signer)
            target.write_progress(run_id, record, lock=lock)
        write_to = partial(target.codec.copy, snapshot.header, snapshot)
        target.replace(run_id, write_to, lock=lock)
    return True


def _check_same(snapshot: StoredSnapshot, present: StoredSnapshot, location: str) -> bool:
    """Check that a run in the other store is the copy of this one, and give False."""
    is_same = (
        snapshot.payload_digest == present.payload_digest
        and snapshot.header.sequence == present.header.sequence
        and snapshot.header.number == present.header.number
        and snapshot.header.status == present.header.status
    )
    if not is_same:
        raise InvalidValueError(
            f"{location} has another snapshot of this run: it has gone on since it was copied, or "
            "it is another run of the same id. Both were left as they are."
        )
    return False
