"""Runs as readers find them, damaged ones too: what their headers say, and what is wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from aiocheckpoint._model.start_record import shown_header
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._query import id_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import Ownership

__all__ = ["FlowSummary", "FlowSums", "FoundRun", "Sort", "examined", "sort_key"]

Sort = Literal["began", "wrote", "took"]
"""The orders of a list: the run that began last first, or that was written last, or took longest.
"""


class FoundRun(NamedTuple):
    """A run, or a kept snapshot of it, as a reader finds it. Of its state nothing was read.

    Attributes:
        location: Where its snapshot is, for messages.
        run_id: The run that the store has it for, or None.
        flow: The flow that the store has it for, else that of the header. Empty where unknown.
        size: Bytes of the whole snapshot.
        header: The header as users see it, with owner and starts. None where it cannot be read.
        error: Why the snapshot cannot be read, or is not to be trusted. None for a sound one.
        verified: Whether the signature was checked and is right. None for an unsigned snapshot.
        key: By what its reader finds the run again.
        kept: Number and sequence of a kept snapshot. None for the newest one.
        began: When the attempt in progress began: the snapshot before it was stored then. 0.0 where
            there is none, or where another process or attempt was at the step since.
    """

    location: str
    run_id: str | None
    flow: str
    size: int = 0
    header: Header | None = None
    error: CheckpointError | None = None
    verified: bool | None = None
    key: object = None
    kept: tuple[int, int] | None = None
    began: float = 0.0

    def kept_as(self, number: int, sequence: int) -> FoundRun:
        """The place of a kept snapshot of the run, with nothing of it read."""
        location = f"{self.location} (kept, number {number}, sequence {sequence})"
        return FoundRun(location, self.run_id, self.flow, key=self.key, kept=(number, sequence))

    @property
    def status(self) -> str:
        """The status of the header, or "damaged"."""
        return "damaged" if self.header is None or self.error is not None else self.header.status

    @property
    def reason(self) -> str | None:
        """What is wrong, in words, or None."""
        known = (CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError)
        if self.error is None:
            return None
        return self.error.reason if isinstance(self.error, known) else str(self.error)


class FlowSummary(NamedTuple):
    """Numbers of one flow of a store.

    Attributes:
        flow: Its name. Empty where unknown.
        counts: Number of runs by status. "damaged" are those whose header cannot be read.
        damaged: The number of these. None where the store did not look.
        size: Bytes of all newest snapshots.
        oldest: When the oldest run began, in seconds since the epoch. 0.0 where unknown.
        newest: When the newest snapshot was written. 0.0 where unknown.
        steps: Names of the steps of the run that began last.
    """

    flow: str
    counts: dict[str, int]
    damaged: int | None
    size: int
    oldest: float
    newest: float
    steps: tuple[str, ...]


class FlowSums:
    """Sums up the runs of one flow, one by one."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._size, self._oldest, self._newest, self._last = 0, 0.0, 0.0, -1.0
        self._steps: tuple[str, ...] = ()

    def add(self, run: FoundRun) -> None:
        """Add a run."""
        self._counts[run.status] += 1
        self._size += run.size
        header = run.header
        if header is None:
            return
        self._oldest = min(filter(None, (self._oldest, header.started_at)), default=0.0)
        self._newest = max(self._newest, header.written_at)
        if header.started_at > self._last:
            self._last, self._steps = header.started_at, header.step_names.names

    def summary(self, flow: str) -> FlowSummary:
        """The sums."""
        counts = dict(sorted(self._counts.items()))  # In the order in which an index has them.
        damaged = self._counts["damaged"]
        numbers = self._size, self._oldest, self._newest
        return FlowSummary(flow, counts, damaged, *numbers, self._steps)


def examined(
    found: FoundRun,
    read: Callable[[Codec], Header],
    codec_of: Callable[[str], Codec] | None,
    known: Ownership | None,
) -> FoundRun:
    """Complete a run, or a kept snapshot, by its header, and by what is wrong with it.

    Args:
        found: Where it was found.
        read: Reads the header, as a codec checks it.
        codec_of: Gives the codec that checks signatures of a flow. None to check none.
        known: What the store knows of the run beside its snapshot. None for a kept snapshot.
    """
    try:
        header = read(Codec())
    except CheckpointError as damage:
        return found._replace(error=damage)
    error = _misplaced(header, found)
    verified = None if header.signed_by is None else False
    flow = found.flow or header.flow
    if codec_of is not None and error is None:
        try:
            read(codec_of(flow))
            verified = True
        except CheckpointError as refusal:
            error = refusal
    shown = header if known is None else shown_header(header, known)
    began = 0.0 if known is None or error is not None else _begin_of_attempt(header, shown)
    return found._replace(flow=flow, header=shown, error=error, verified=verified, began=began)


def _begin_of_attempt(stored: Header, shown: Header) -> float:
    """When the attempt in progress began, see `FoundRun.began`."""
    goes_on = stored.status == "running" and stored.failure is None
    return stored.written_at if goes_on and shown.owner and shown.starts <= 1 else 0.0


def _misplaced(header: Header, found: FoundRun) -> CheckpointError | None:
    if not header.library:  # A bare pickle names no run.
        return None
    reason = None
    if header.run_id != found.run_id:
        reason = f"it is the snapshot of another run, {header.run_id!r}"
    elif found.flow and header.flow and header.flow != found.flow:
        reason = f"it is the snapshot of another flow, {header.flow!r}"
    return None if reason is None else CorruptSnapshotError(found.location, reason)


def sort_key(sort: Sort, run: FoundRun) -> tuple[float, bytes]:
    """The key of the order of a list, from the greatest down. Runs of unknown times are last."""
    header, name = run.header, id_key(run.run_id)
    if header is None:
        return 0.0, name
    if sort == "took":
        return header.written_at - header.started_at, name
    return header.started_at if sort == "began" else header.written_at, name
