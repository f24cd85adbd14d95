"""The part of the port that is about progress: the last cursor of a step, beside each snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.handlers._locks import Lock

__all__ = ["ProgressPort"]


class ProgressPort:
    """What a store keeps of the progress of a step. A store of before 0.7 keeps nothing of it."""

    def read_progress(self, run_id: str | None = None, *, lock: Lock | None = None) -> bytes | None:
        """Read the record of the last progress of a run, or give None where there is none.

        Args:
            run_id: The run, or None.
            lock: A lock of the run, held or not, by which a store may find the record faster.

        Raises:
            StorageError: The store cannot be read.
        """
        del run_id, lock
        return None

    def write_progress(self, run_id: str | None, record: bytes | None, *, lock: Lock) -> None:
        """Store the record of a run's progress in the place of the one before, or delete it.

        It need not outlive a power cut: its loss repeats work. It is deleted with the run.

        Args:
            run_id: The run, or None.
            record: At most 80 KiB, or None to delete it.
            lock: The lock of the run, held by the caller.

        Raises:
            StorageError: The store cannot be written.
            LeaseLostError: `lock` is not held. An owner that lost its run stores nothing. Where the
                store alone knows of the loss, this may be silent.
        """
        del run_id, record, lock
