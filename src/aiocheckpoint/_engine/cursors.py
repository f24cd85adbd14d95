"""Keeps the cursor of the step in progress where the next attempt finds it, of any process.

The run stores it with each record of how an attempt has ended. In between, the thread that looks
once a second for requests stores those that are new.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks
from aiocheckpoint._model.progress_record import ProgressRecord
from aiocheckpoint.handlers._stored_progress import log_unstored

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._engine.progress_reports import ProgressReports
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["CursorKeeper"]


class CursorKeeper:
    """Keeps the cursors of one run.

    A lock orders two writes, so that an older cursor never takes the place of a newer one. Only a
    thread that may block waits for it: that of the looks, and one that records an outcome. A
    signal handler does neither for the same run.

    Args:
        run_store: The store of the run. Its lock is held.

    Attributes:
        is_stored: Whether the store may have a record of the step in progress.
    """

    __slots__ = (
        "_done_at",
        "_found",
        "_has_logged",
        "_lock",
        "_process",
        "_reports",
        "_run",
        "_run_store",
        "_step",
        "is_stored",
    )

    def __init__(self, run_store: RunStore) -> None:
        self._run_store = run_store
        self._process = forks.process
        self._lock = threading.Lock()
        self._run: tuple[str, str | None, int, float] = ("", None, 0, 0.0)
        self._step = ""
        self._reports: ProgressReports | None = None
        self._found: str | None = None
        self._done_at: int | None = None
        self._has_logged = False
        self.is_stored: bool = False

    def begin(self, header: Header, first: str | None, *, may_go_on: bool) -> bool:
        """Note the run, and take over the cursor of an earlier attempt at its first step.

        Args:
            header: The header that the run begins with.
            first: Name of its first step, or None.
            may_go_on: Whether the run goes on where it stood.

        Returns:
            False if the store has a record that is not of this step, to be deleted.
        """
        self._run = header.flow, header.run_id, header.number, header.started_at
        record = self._run_store.progress
        if record is None:
            return True
        if not (may_go_on and record.is_of(header, first)):
            return False
        self._found, self.is_stored = record.cursor, True
        return True

    def drop_found(self) -> None:
        """Delete a record that is not of this step, blocking. One that stays is passed over."""
        with suppress(Exception):  # Also of a user's handler.
            self._run_store.drop_progress()

    def enter(self, step: str, reports: ProgressReports) -> None:
        """Keep the cursor of a step from now on."""
        self._step, self._reports, self._done_at = step, reports, None
        if self._found is not None:
            reports.cursor, self._found = self._found, None

    def note_done(self, sequence: int) -> None:
        """Note that the snapshot of the step is about to be stored. Looks store nothing then.

        Args:
            sequence: The number of that snapshot.
        """
        self._done_at = sequence

    def leave(self) -> None:
        """Note that the snapshot of the step is stored, and a record of it deleted."""
        self._reports, self.is_stored = None, False

    @property
    def has_new(self) -> bool:
        """Whether the step has given a cursor that is not stored yet."""
        return self._reports is not None and self._reports.cursor_is_new

    def update_header(self, change: Callable[[Header], Header]) -> None:
        """Do as `RunStore.update_header`, and store a new cursor with the header, blocking."""
        if self._process is not forks.process:  # The lock may be held by a thread of the parent.
            self._run_store.update_header(change)
            return
        with self._lock:
            record, stored = self._take(), False
            try:
                stored = self._run_store.update_header(change, record)
            finally:
                if record is not None:
                    self._note(stored=stored)

    def store_new(self) -> Callable[[], None] | None:
        """Store a new cursor in the thread of the looks, or begin to do so.

        Returns:
            A function that waits for the end of it, and raises nothing. None where there is no new
            cursor.
        """
        if not self.has_new:
            return None
        with self._lock:
            record = self._take() if self._done_at is None else None
            if record is None:
                return None
            self._note(stored=True)
            pending = None
            try:
                pending = self._run_store.begin_progress(record)
            except Exception as error:  # noqa: BLE001 - also of a user's handler
                self._note_failure(record, error)
        return partial(self._finish, record, pending)

    def _finish(self, record: ProgressRecord, pending: PendingResult[None] | None) -> None:
        try:
            if pending is not None:
                pending.wait()
        except Exception as error:  # noqa: BLE001 - the next look tries again
            self._note_failure(record, error)

    def _note_failure(self, record: ProgressRecord, error: Exception) -> None:
        """Note that a cursor could not be stored, and log it once for each run."""
        self._note(stored=False)
        if not self._has_logged:
            self._has_logged = True
            log_unstored(record, error)

    def _take(self) -> ProgressRecord | None:
        """Make the record of a cursor that is new."""
        reports = self._reports
        if reports is None or not reports.cursor_is_new or self._step_is_stored():
            return None
        reports.cursor_is_new = False  # Before it is read: the next one may come in between.
        cursor = reports.cursor
        done, total, note = reports.latest or (0.0, None, None)
        if cursor is None:
            return None
        return ProgressRecord(*self._run, self._step, cursor, done, total, note, time.time())

    def _step_is_stored(self) -> bool:
        """Whether the step has ended, as a cancellation may come out of the write behind it."""
        stored = self._run_store.header
        return self._done_at is not None and stored is not None and stored.sequence >= self._done_at

    def _note(self, *, stored: bool) -> None:
        if stored:
            self.is_stored = True
        elif self._reports is not None:
            self._reports.cursor_is_new = True
