"""Keeps the cursor of the step in progress where the next attempt finds it, of any process.

The run stores it with each record of how an attempt has ended. In between, the thread that looks
once a second for requests stores those that are new.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

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


class ReportingStep(Protocol):
    """A step that may say how far it is."""

    @property
    def reports(self) -> ProgressReports | None:
        """Takes what it says. None where it has said nothing."""
        ...


class CursorKeeper:
    """Keeps the cursors of one run.

    A lock orders two writes, so that an older cursor never takes the place of a newer one. Only a
    thread that may block waits for it: that of the looks, and one that records an outcome. A
    signal handler does neither for the same run.

    Args:
        run_store: The store of the run. Its lock is held.

    Attributes:
        header: A header of the run, from its begin on. Its name, number and beginning count.
        step: The step in progress. None before it and behind its snapshot.
        done_at: The number of the snapshot behind the step, once it is about to be stored. Looks
            store nothing then.
        found: The cursor of an earlier attempt, for the first step.
        is_stored: Whether the store may have a record of the step in progress.
    """

    # Defaults of the class, as every run makes such an object, and few runs use it.
    header: Header | None = None
    step: ReportingStep | None = None
    done_at: int | None = None
    found: str | None = None
    is_stored: bool = False
    _has_logged = False

    def __init__(self, run_store: RunStore) -> None:
        self._run_store = run_store
        self._process = forks.process
        self._lock = threading.Lock()

    def take_over(self, header: Header, first: str | None, *, may_go_on: bool) -> bool:
        """Take over the cursor that the store has of the first step.

        Args:
            header: The header that the run begins with.
            first: Name of its first step, or None.
            may_go_on: Whether the run goes on where it stood.

        Returns:
            False if the record is not of this step, and to be deleted.
        """
        record = self._run_store.progress
        if record is None or not (may_go_on and record.is_of(header, first)):
            return False
        self.found, self.is_stored = record.cursor, True
        return True

    def drop_found(self) -> None:
        """Delete a record that is not of this step, blocking. One that stays is passed over."""
        with suppress(Exception):  # Also of a user's handler.
            self._run_store.drop_progress()

    def hand_over(self, reports: ProgressReports) -> None:
        """Give the first step the cursor of the earlier attempt."""
        reports.cursor, self.found = self.found, None

    @property
    def _reports(self) -> ProgressReports | None:
        """What the step in progress says. None where it has said nothing."""
        return None if self.step is None else self.step.reports

    @property
    def has_new(self) -> bool:
        """Whether the step has given a cursor that is not stored yet."""
        reports = self._reports
        return reports is not None and reports.cursor_is_new

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
            record = self._take() if self.done_at is None else None
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
        reports, header = self._reports, self.header
        if reports is None or header is None or not reports.cursor_is_new:
            return None
        if self._step_is_stored():
            return None
        reports.cursor_is_new = False  # Before it is read: the next one may come in between.
        cursor = reports.cursor
        done, total, note = reports.latest or (0.0, None, None)
        if cursor is None:
            return None
        run = header.flow, header.run_id, header.number, header.started_at
        return ProgressRecord(*run, reports.step, cursor, done, total, note, time.time())

    def _step_is_stored(self) -> bool:
        """Whether the step has ended, as a cancellation may come out of the write behind it."""
        stored = self._run_store.header
        return self.done_at is not None and stored is not None and stored.sequence >= self.done_at

    def _note(self, *, stored: bool) -> None:
        if stored:
            self.is_stored = True
            return
        reports = self._reports
        if reports is not None:
            reports.cursor_is_new = True
