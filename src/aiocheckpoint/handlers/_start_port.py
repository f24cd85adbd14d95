"""The part of the port that is about starts of runs: a small record beside each snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.start_record import Ownership, draining, shown_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint.handlers._locks import Lock

__all__ = ["StartPort", "has_noted_draining"]

_NOTED = "_has_noted_draining"


class StartPort:
    """What a store keeps of the starts of runs. A store of before 0.6 keeps nothing of them."""

    def read_start(self, run_id: str | None = None) -> StartRecord | None:
        """Read the record of the last start of a run, for handlers that store it.

        Raises:
            StorageError: The store cannot be read.
        """
        del run_id
        return None

    def write_start(
        self, run_id: str | None, record: StartRecord | None, *, lock: Lock | None = None
    ) -> None:
        """Store the record of a start beside the snapshot, or delete it for None.

        It need not outlive a power cut. It is deleted with the run.

        Args:
            run_id: The run, or None.
            record: The record.
            lock: The lock of the run, held by the caller. None where the caller knows that another
                part of this process holds it.

        Raises:
            StorageError: The store cannot be written.
            LeaseLostError: `lock` was lost.
        """
        del run_id, record, lock

    def ownership(self, run_id: str | None = None) -> Ownership:
        """Read what is known of a run beside its snapshot: its owner and its last start.

        Raises:
            StorageError: The store cannot be read.
        """
        return Ownership(self.read_start(run_id))

    def with_ownership(self, header: Header) -> Header:
        """Complete the header of a snapshot by what `ownership` knows of its run.

        `runs` gives each header through it, unless its store knows the owners of all runs at once.

        Returns:
            The header with the owner, the starts, and the status "running" where the run was
            claimed since to go on.

        Raises:
            StorageError: The store cannot be read.
        """
        return shown_header(header, self.ownership(header.run_id))

    def note_draining(self, run_ids: Iterable[str | None]) -> None:
        """Note that this process, which runs these runs, has begun to drain.

        If it is killed before they have ended, their starts do not count.

        Raises:
            StorageError: The store cannot be written.
        """
        vars(self)[_NOTED] = True
        for run_id in run_ids:
            known = self.ownership(run_id)
            if known.owner is not None:  # It may have ended by now.
                self.write_start(run_id, draining(known.record))


def has_noted_draining(port: StartPort) -> bool:
    """Whether records may have been written beside the runs that own them."""
    return _NOTED in vars(port)
