"""The part of the port that is about runs to be terminated: a request beside each snapshot.

A process that does not own the run leaves the request in the store. The owner looks for it there
once a second.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiocheckpoint.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint.handlers._locks import Lock

__all__ = ["EndingPort", "decode_reason", "encode_reason"]


class EndingPort:
    """What a store keeps of the requests to terminate runs. A store of before 0.6 keeps none."""

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Store durably the request to terminate a run that is in progress.

        The first request of a run stays, and a later one changes nothing. It is deleted with the
        run, and by `clear_ending`.

        Args:
            run_id: The run, or None.
            reason: The reason for its end.

        Raises:
            InvalidValueError: The store keeps no requests.
            StorageError: The store cannot be written.
        """
        del reason
        raise InvalidValueError(
            f"{type(self).__name__} keeps no requests, so that the run {run_id!r} can be "
            "terminated in its own process alone. Ask there, or wait for its end."
        )

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Delete the request to terminate a run, if there is one.

        Args:
            run_id: The run, or None.
            lock: Its lock. A database whose last snapshot has released it needs no such call.

        Raises:
            StorageError: The store cannot be written.
        """
        del run_id, lock

    def read_ending(self, run_id: str | None, *, lock: Lock | None = None) -> str | None:
        """Read the reason of the request to terminate a run. None where there is no request.

        Args:
            run_id: The run, or None.
            lock: A lock of the run, held or not, by which a store may find the request faster.

        Raises:
            StorageError: The store cannot be read.
        """
        del lock
        return self.endings((run_id,)).get(run_id)

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Read the requests to terminate any of these runs, which are in progress here.

        It is called once a second while runs are in progress.

        Args:
            run_ids: The runs.

        Returns:
            The reasons, by run id, of those runs alone that have a request.

        Raises:
            StorageError: The store cannot be read.
        """
        del run_ids
        return {}


def encode_reason(reason: str) -> str:
    """The reason of a request as a line of ASCII."""
    return f"{json.dumps(reason)}\n"


def decode_reason(text: str | bytes) -> str | None:
    """Read an encoded reason. None for a line that is not complete yet.

    Anything else that another program has stored is a request without a reason.
    """
    line, end, _ = text.partition("\n") if isinstance(text, str) else text.partition(b"\n")
    if not end:
        return None
    try:
        reason = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return reason if isinstance(reason, str) else ""
