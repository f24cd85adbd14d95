"""The runs that a call for all runs of a store has refused, and left as they were."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiocheckpoint.errors import (
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidValueError,
    RunInProgressError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.errors import CheckpointError

__all__ = ["RefusedRuns"]

_OF_ONE_RUN = (
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidValueError,
    RunInProgressError,
    UntrustedSnapshotError,
)
"""These errors concern one run. Any other ends the call, as those of the store do."""
_MOST_NAMED = 10


class RefusedRuns:
    """Collects the refused runs, so that the call goes on with all others.

    Args:
        call: The name of the function, for the note.
        done: What it has done with the other runs, such as "copied".
    """

    def __init__(self, call: str, done: str) -> None:
        self._call, self._done = call, done
        self._locations: list[str] = []
        self._first: CheckpointError | None = None

    @contextmanager
    def collecting(self, location: str) -> Generator[None, None, None]:
        """Take the error of a run that the `with` block refuses.

        Args:
            location: Where the run is, for the note.
        """
        try:
            yield
        except _OF_ONE_RUN as error:
            self._first = self._first or error
            self._locations.append(location)

    def raise_first(self, count: int) -> None:
        """Raise the first error, if there is one, with a note that names the refused runs.

        Args:
            count: How many runs were not refused.

        Raises:
            CheckpointError: A run was refused.
        """
        if self._first is None:
            return
        names = ", ".join(self._locations[:_MOST_NAMED])
        more = len(self._locations) - _MOST_NAMED
        self._first.add_note(
            f"{count} runs were {self._done}. Refused, and left as they were: {names}"
            + (f" and {more} more." if more > 0 else ".")
            + f" Call {self._call}() again when the reason is gone."
        )
        raise self._first
