"""Reading a store for displays: all its runs, damaged ones too, with nothing changed or unpickled.

`StoreReader` does so by the port that every store has. A store with an index has a better one.
"""

from __future__ import annotations

import functools
import heapq
import os
from collections import Counter
from contextlib import closing
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from aiocheckpoint._closing import ClosedAtEnd
from aiocheckpoint._snapshot.progress_record import UnusableProgressError, decode_progress
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._counting import facts_of
from aiocheckpoint.handlers._found_runs import FlowSums, FoundRun, examined, sort_key
from aiocheckpoint.handlers._options import make_codec
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint._model.start_record import Ownership
    from aiocheckpoint._snapshot.codec import Codec
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["StoreReader", "count_found"]


class StoreReader(ClosedAtEnd):
    """Reads a store, for the time of a `with` block, and changes nothing of it.

    Args:
        handler: The store, with an empty name for its flow.
        secret: The secret or secrets that signatures are checked with. None to check none.

    Attributes:
        handler: The store.
        codec_of: Gives the codec that checks the signatures of a flow. None to check none.
        shown_place: The store in words, where a path or URL is not shown as it was given.

    Raises:
        InvalidTypeError, InvalidValueError: A secret is invalid.
    """

    has_index: ClassVar[bool] = False
    """Whether counts, and the run that began last, are found without a look at all runs."""
    shown_place: str | None = None

    def __init__(self, handler: WholeStorePort, secret: Secrets | None = None) -> None:
        self.handler = handler
        self.codec_of: Callable[[str], Codec] | None = None
        if secret is not None:
            self.codec_of = functools.cache(lambda flow: make_codec(flow, {"secret": secret}))
            self.codec_of("")

    def checks_with(self, codec: Codec) -> None:
        """Check signatures as a flow does. A codec without a secret checks none.

        Args:
            codec: The codec of the flow.
        """
        self.codec_of = None if codec.signer is None else lambda _: codec

    def close(self) -> None:
        """Close what is open. The next use opens it again."""

    def exists(self) -> bool:
        """Whether the store was made. It may hold no run.

        Raises:
            StorageError: It cannot be read, or is another program's.
            IncompatibleSnapshotError: It is of a later version of this library.
        """
        return self.handler.exists() or next(self.found(""), None) is not None

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows that share the store.

        Empty where only headers tell them. Lists and counts that name no flow are then of all.
        """
        return ()

    def found(self, flow: str, where: RunFilter = ALL) -> Iterator[FoundRun]:
        """Find runs, in no order. A run without a header is among all, and in no choice of them.

        Args:
            flow: The flow. Empty for any.
            where: The filter.

        Raises:
            StorageError: The store cannot be read.
        """
        for run in self.all_found():
            if flow and run.flow not in ("", flow):
                continue
            if where == ALL or (run.header is not None and where.wants(run.header)):
                yield run

    def all_found(self) -> Iterator[FoundRun]:
        """Find the runs of all flows, in no order.

        Raises:
            StorageError: The store cannot be read.
        """
        for snapshot in self.handler.find_all_snapshots():
            run = self._examined_found(snapshot)
            if run is not None:
                yield run

    def runs(
        self, flow: str, where: RunFilter, sort: Sort, limit: int | None
    ) -> Iterator[FoundRun]:
        """Find runs in the order of a list.

        Args:
            flow: The flow. Empty for any.
            where: The filter.
            sort: The order, the greatest first.
            limit: The most runs, None for all.

        Raises:
            StorageError: The store cannot be read.
        """
        key = functools.partial(sort_key, sort)
        found = self.found(flow, where)
        if limit is not None:
            yield from heapq.nlargest(limit, found, key=key)
            return
        # Headers of all runs would take much memory, so each is read twice.
        places = sorted(((key(run), run._replace(header=None)) for run in found), key=itemgetter(0))
        for _, place in reversed(places):
            run = self.again(place)
            if run is not None:
                yield run

    def again(self, run: FoundRun) -> FoundRun | None:
        """Find a run again, of which the header was dropped. None where it was deleted."""
        return next(self.find(run.flow, run.run_id), None)

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run, in each flow that has it.

        Args:
            flow: The flow. Empty for any.
            run_id: The run, or None.

        Raises:
            StorageError: The store cannot be read.
        """
        for snapshot in self.handler.find_snapshots(run_id):
            run = self._examined_found(snapshot)
            if run is not None and (not flow or run.flow in ("", flow)):
                yield run

    def kept(self, run: FoundRun, most: int | None = None) -> list[FoundRun]:
        """List the kept snapshots of a run, newest first. The newest of the run may be among them.

        Args:
            run: The run.
            most: How many of the newest, None for all.

        Raises:
            StorageError: The store cannot be read.
        """
        found = (run.kept_as(*numbers) for numbers in self.numbers_of_kept(run)[:most])
        read = (self.examine(one, functools.partial(self.open, one), None) for one in found)
        return [one for one in read if one is not None]

    def numbers_of_kept(self, run: FoundRun) -> list[tuple[int, int]]:
        """List numbers and sequences of the kept snapshots of a run, newest first.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.handler.kept(run.run_id)

    def snapshots(self, run: FoundRun, most: int | None = None) -> list[FoundRun]:
        """List all snapshots of a run, the newest first, each once.

        Args:
            run: The run.
            most: How many of the kept ones are looked at, None for all.

        Raises:
            StorageError: The store cannot be read.
        """
        header = run.header
        newest = None if header is None else (header.number, header.sequence)
        return [run, *(one for one in self.kept(run, most) if one.kept != newest)]

    def progress(self, run: FoundRun) -> ProgressRecord | None:
        """Read the record of the progress of the step at which a run stands.

        None where there is none that belongs to the run, or, where secrets are given, none that is
        correctly signed.

        Raises:
            StorageError: The store cannot be read.
        """
        header = run.header
        if header is None or header.finished or run.error is not None or run.kept is not None:
            return None
        signer = None if self.codec_of is None else self.codec_of(run.flow).signer
        try:
            encoded = self.progress_bytes(run)
            record = None if encoded is None else decode_progress(encoded, signer)
        except UnusableProgressError:
            return None
        return record if record is not None and record.is_of(header, header.next_step) else None

    def progress_bytes(self, run: FoundRun) -> bytes | None:
        """Read that record as it is stored.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.handler.read_progress(run.run_id)

    def open(self, run: FoundRun) -> BinaryIO | None:
        """Open a snapshot that was found. None where it was deleted meanwhile.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.handler.open(run.run_id, run.kept)

    def counts(self, flow: str, by: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count runs by facts of their headers.

        One that cannot be read has the status "damaged", and no other fact.

        Args:
            flow: The flow. Empty for any.
            by: The facts.
            where: The filter.

        Returns:
            The number of runs by the values of these facts.
        """
        return count_found(self.found(flow, where), by)

    def newest_finished(self, flow: str, limit: int) -> list[FoundRun]:  # noqa: ARG002
        """Find the newest finished runs. None are found where that needs a look at all runs.

        Args:
            flow: The flow.
            limit: The most runs.

        Raises:
            StorageError: The store cannot be read.
        """
        return []

    def summaries(self) -> list[FlowSummary]:
        """Sum up each flow, in the order of their names."""
        flows: dict[str, FlowSums] = {}
        for run in self.found(""):
            flows.setdefault(run.flow, FlowSums()).add(run)
        return [flows[name].summary(name) for name in sorted(flows)]

    def _examined_found(self, snapshot: FoundSnapshot) -> FoundRun | None:
        where = snapshot.location
        bare = FoundRun(where, snapshot.run_id, snapshot.flow, key=where)
        return self.examine(bare, snapshot.open, snapshot.known)

    def examine(
        self, bare: FoundRun, opened: Callable[[], BinaryIO | None], known: Ownership | None
    ) -> FoundRun | None:
        """Read the header of a snapshot. None where it was deleted meanwhile."""
        try:
            file = opened()
        except CheckpointError as error:
            return bare._replace(error=error)
        if file is None:
            return None
        with closing(file):
            sized = bare._replace(size=file.seek(0, os.SEEK_END))
            return examined(
                sized,
                lambda codec: codec.open_stored(file, bare.location).header,
                self.codec_of,
                known,
            )


def count_found(runs: Iterable[FoundRun], by: tuple[CountBy, ...]) -> Counts:
    """Count runs by facts of their headers, see `StoreReader.counts`."""
    return dict(Counter(_facts(run, by) for run in runs))


def _facts(run: FoundRun, by: tuple[CountBy, ...]) -> tuple[str | None, ...]:
    if run.header is None or run.error is not None:
        return tuple(run.status if fact == "status" else None for fact in by)
    return facts_of(run.header, by)
