"""The progress of a step as a store has it: read, checked, and passed over where it is unusable."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint._logging import RunPlace, log
from aiocheckpoint._snapshot.progress_record import (
    UnusableProgressError,
    decode_progress,
    encode_progress,
)
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._port import SnapshotPort

__all__ = ["adopted_progress", "log_unstored", "stored_progress"]


def stored_progress(
    handler: SnapshotPort, run_id: str | None, lock: Lock | None = None
) -> ProgressRecord | None:
    """Read the record of a run's progress, as the secrets of the handler verify it.

    Args:
        handler: The store.
        run_id: The run, or None.
        lock: Its lock, or None.

    Returns:
        The record. None where there is none, and, with a record in the log, for one that cannot be
        read or used: its step then begins without a cursor.
    """
    try:
        encoded = handler.read_progress(run_id, lock=lock)
        return None if encoded is None else decode_progress(encoded, handler.codec.signer)
    except (CheckpointError, UnusableProgressError) as error:
        words = "The progress stored for the run is passed over, so that its step begins anew: %s"
        log(logging.WARNING, RunPlace(handler.flow, run_id), words, str(error))
        return None


def adopted_progress(signing: SnapshotPort, found: Header, adopted: Header) -> bytes | None:
    """Make the record of a run's progress for the header and the secret that the run is adopted by.

    Args:
        signing: The store, which signs.
        found: The header of the run as it is stored.
        adopted: The header in the place of that one's.

    Returns:
        The record. None where there is none of the run, or one that cannot be used: the step then
        begins without a cursor.
    """
    with suppress(CheckpointError, UnusableProgressError):
        encoded = signing.read_progress(adopted.run_id)
        signer = None if found.signed_by is None else signing.codec.signer
        record = None if encoded is None else decode_progress(encoded, signer)
        if record is not None and record.is_of(found, record.step):
            of_adopted = record._replace(flow=adopted.flow, run_id=adopted.run_id)
            return encode_progress(of_adopted, signing.codec.signer)
    return None


def log_unstored(record: ProgressRecord, error: BaseException) -> None:
    """Log that a record of progress could not be stored."""
    place = RunPlace(record.flow, record.run_id, record.step)
    words = "The cursor of step %r is not stored, and its next attempt may begin earlier: %s"
    log(logging.WARNING, place, words, record.step, str(error) or type(error).__name__)
