"""A store in memory."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Unpack

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._model.start_record import Ownership
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import CheckpointError, LeaseLostError, RunInProgressError
from aiocheckpoint.handlers import SnapshotOptions, StateHandler
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._query import select
from aiocheckpoint.handlers._retention import Keep, checked_keep, to_prune
from aiocheckpoint.handlers._urls import redact_url

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers import Lock
    from aiocheckpoint.handlers._query import Query

__all__ = ["MemoryStateHandler"]

_Name = tuple[int, int]
_numbers = count(1)
"""The numbers of the stores of this process, which tell apart those of one name."""


class MemoryStateHandler(StateHandler):
    """Keeps the snapshots of this process in memory, byte for byte as in a file.

    For tests without files. The snapshots exist as long as the object.

    Args:
        state_path: The name of the store in messages.
        keep: How many snapshots of each run are kept, as for `LocalStateHandler`.
        flow: Name of the flow.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.
    """

    outlives_process = False
    _shown_options = (("keep", 1),)

    def __init__(
        self,
        state_path: str | os.PathLike[str] = "memory",
        *,
        keep: Keep = 1,
        flow: str = "",
        **options: Unpack[SnapshotOptions],
    ) -> None:
        super().__init__(flow, **options)
        self.keep: Keep = checked_keep(keep)
        self.path: str | os.PathLike[str] | None = state_path
        # Two stores of one name are two places, and callers wait for a run at its location.
        self._name = f"{redact_url(os.fspath(state_path))} {next(_numbers)}"
        self._newest: dict[str | None, bytes] = {}
        self._kept: defaultdict[str | None, dict[_Name, bytes]] = defaultdict(dict)
        self._owners: dict[str | None, _MemoryLock] = {}
        self._starts: dict[str | None, StartRecord] = {}
        self._endings: dict[str | None, str] = {}
        self._progress: dict[str | None, bytes] = {}

    def locate(self, run_id: str | None = None) -> str:
        """The name and number of the store, and the run."""
        run_id = checked_run_id(run_id)
        return f"<{self._name}>" if run_id is None else f"<{self._name}, run {run_id!r}>"

    def lock(self, run_id: str | None = None) -> _MemoryLock:
        """The lock of a run, between the threads and flows of this process."""
        return _MemoryLock(self.locate(run_id), run_id, self._owners)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> io.BytesIO | None:
        """Open a run's newest snapshot, or a retained one."""
        if kept is None:
            content = self._newest.get(checked_run_id(run_id))
        else:
            content = self._kept[run_id].get(kept)
        return None if content is None else MemoryTarget(content)

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run: number and sequence of each, newest first."""
        return sorted(self._kept[run_id], key=lambda name: name[1], reverse=True)

    def read_start(self, run_id: str | None = None) -> StartRecord | None:
        """Read the record of the last start of a run."""
        return self._starts.get(checked_run_id(run_id))

    def write_start(
        self,
        run_id: str | None,
        record: StartRecord | None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - this process is the only owner
    ) -> None:
        """Store the record of a start, or delete it."""
        if record is None:
            self._starts.pop(checked_run_id(run_id), None)
        else:
            self._starts[checked_run_id(run_id)] = record

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Store the request to terminate a run."""
        self._endings.setdefault(checked_run_id(run_id), reason)

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Delete the request to terminate a run, if the lock is still held."""
        if self._owners.get(checked_run_id(run_id)) is lock:
            self._endings.pop(run_id, None)

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Give the reasons of these runs that have a request."""
        if not self._endings:
            return {}
        known = ((run_id, self._endings.get(run_id)) for run_id in run_ids)
        return {run_id: reason for run_id, reason in known if reason is not None}

    def read_progress(
        self,
        run_id: str | None = None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - it is found by the run id
    ) -> bytes | None:
        """Read the record of a run's progress."""
        return self._progress.get(checked_run_id(run_id))

    def write_progress(self, run_id: str | None, record: bytes | None, *, lock: Lock) -> None:
        """Store the record of a run's progress, or delete it."""
        with self.hold_or_check(run_id, lock):
            if record is None:
                self._progress.pop(run_id, None)
            else:
                self._progress[run_id] = record

    def ownership(self, run_id: str | None = None) -> Ownership:
        """Give the owner of a run and the record of its last start."""
        owned = self._owners.get(run_id) is not None
        name = describe_process(os.getpid(), socket.gethostname()) if owned else None
        return Ownership(self.read_start(run_id), name)

    def hold_or_check(self, run_id: str | None, lock: Lock | None) -> AbstractContextManager[Lock]:
        """Do as every handler does, and let the store decide whether `lock` is held."""
        if lock is not None and self._owners.get(run_id) is not lock:
            raise LeaseLostError(self.locate(run_id))
        return super().hold_or_check(run_id, lock)

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace a run's snapshot by the bytes that `write_to` writes.

        Raises:
            LeaseLostError: `lock` is not held.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock):
            memory = MemoryTarget()
            header = write_to(memory)
            content = memory.getvalue()
            if self.keep != 1:
                self._keep(run_id, header, content, amends)
            self._newest[checked_run_id(run_id)] = content
            return header, len(content)

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's snapshots.

        Raises:
            LeaseLostError: `lock` is not held.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock):
            self._newest.pop(checked_run_id(run_id), None)
            self._kept.pop(run_id, None)
            self._starts.pop(run_id, None)
            self._endings.pop(run_id, None)
            self._progress.pop(run_id, None)

    def runs(self, query: Query) -> list[Header]:
        """List the headers of the stored runs, in the order of the query."""
        return select(list(self.headers()), query)

    def headers(self) -> Iterator[Header]:
        """Give the headers of the stored runs, one by one."""
        for run_id in list(self._newest):  # Not `items()`: the garbage collector may come between.
            content = self._newest.get(run_id)
            if content is None:
                continue
            location = self.locate(run_id)
            try:
                found = self.codec.open(MemoryTarget(content), location)
                if found is not None and found.header.library:
                    self.check_run(found.header, run_id, location)
            except CheckpointError as error:
                log_left_out(error, RunPlace(self.flow, run_id))
                continue
            if found is not None:
                yield self.with_ownership(replace(found.header, run_id=run_id))

    def _keep(
        self, run_id: str | None, header: Header, content: bytes, amends: Header | None
    ) -> None:
        if amends is not None:
            self._kept[run_id].pop((amends.number, amends.sequence), None)
        self._kept[run_id][header.number, header.sequence] = content
        for name in to_prune(self.kept(run_id), header, self.keep):
            del self._kept[run_id][name]


class _MemoryLock:
    def __init__(
        self,
        location: str,
        run_id: str | None,
        owners: dict[str | None, _MemoryLock],
    ) -> None:
        self._location = location
        self._run_id = run_id
        self._owners = owners
        self._since: str | None = None
        self._pid = os.getpid()

    @property
    def held(self) -> bool:
        # A forked child has a copy of the store, in which its parent owns the run.
        return self._owners.get(self._run_id) is self and self._pid == os.getpid()

    def acquire(self) -> None:
        # setdefault() is atomic. A lock around it would stop a signal handler that comes inside.
        owner = self._owners.setdefault(self._run_id, self)
        if owner is not self or self._pid != os.getpid():
            since, host = owner._since, socket.gethostname()  # noqa: SLF001
            raise RunInProgressError(self._location, pid=owner._pid, host=host, since=since)  # noqa: SLF001
        self._since = datetime.now(UTC).isoformat(timespec="seconds")

    def release(self) -> None:
        if self.held:  # Nobody but this lock itself ends that.
            self._owners.pop(self._run_id, None)
