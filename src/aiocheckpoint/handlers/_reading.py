"""Reading a store for displays: all its runs, damaged ones too, with nothing changed or unpickled.

`StoreReader` does so by the port that every store has. A store with an index has a better one.
"""

from __future__ import annotations

import functools
import heapq
import os
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from aiocheckpoint.errors import CheckpointError, CorruptSnapshotError
from aiocheckpoint.handlers._found_runs import FlowSums, FoundRun, examined, sort_key
from aiocheckpoint.handlers._options import make_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Codec
    from aiocheckpoint._snapshot.signing import Secret
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["StoreReader", "Where"]


class Where(Protocol):
    """A filter of runs."""

    def wants(self, header: Header) -> bool:
        """Whether a run is chosen."""
        ...


class StoreReader:
    """Reads a store, for the time of a `with` block, and changes nothing of it.

    Args:
        handler: The store, with an empty name for its flow.
        secret: The secret or secrets that signatures are checked with. None to check none.

    Raises:
        InvalidTypeError, InvalidValueError: A secret is invalid.
    """

    def __init__(
        self, handler: WholeStorePort, secret: Secret | Sequence[Secret] | None = None
    ) -> None:
        self.handler = handler
        self._codec_of: Callable[[str], Codec] | None = None
        if secret is not None:
            self._codec_of = functools.cache(lambda flow: make_codec(flow, {"secret": secret}))
            self._codec_of("")

    def checks_with(self, codec: Codec) -> None:
        """Check signatures as a flow does. A codec without a secret checks none.

        Args:
            codec: The codec of the flow.
        """
        self._codec_of = None if codec.signer is None else lambda _: codec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
        """Names of the flows that share the store. Empty where only headers tell them."""
        return ()

    def found(self, flow: str, where: Where | None = None) -> Iterator[FoundRun]:
        """Find runs, in no order. A run without a header is found where no filter is given.

        Args:
            flow: The flow. Empty for any.
            where: The filter, None for all runs.

        Raises:
            StorageError: The store cannot be read.
        """
        for snapshot in self.handler.find_all_snapshots():
            run = self._examined(snapshot)
            if run is None or (flow and run.flow not in ("", flow)):
                continue
            if where is None or (run.header is not None and where.wants(run.header)):
                yield run

    def runs(
        self, flow: str, where: Where | None, sort: Sort, limit: int | None
    ) -> Iterator[FoundRun]:
        """Find runs in the order of a list.

        Args:
            flow: The flow. Empty for any.
            where: The filter, None for all runs.
            sort: The order, the greatest first.
            limit: The most runs, None for all.

        Raises:
            StorageError: The store cannot be read.
        """
        key = functools.partial(sort_key, sort)
        found = self.found(flow, where)
        if limit is not None:
            yield from heapq.nlargest(limit, found, key=key)
        else:
            yield from sorted(found, key=key, reverse=True)

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run, in each flow that has it.

        Args:
            flow: The flow. Empty for any.
            run_id: The run, or None.

        Raises:
            StorageError: The store cannot be read.
        """
        for snapshot in self.handler.find_snapshots(run_id):
            run = self._examined(snapshot)
            if run is not None and (not flow or run.flow in ("", flow)):
                yield run

    def kept(self, run: FoundRun) -> list[tuple[int, int]]:
        """List the kept snapshots of a run: number and sequence of each, newest first."""
        return self.handler.kept(run.run_id)

    def open(self, run: FoundRun, kept: tuple[int, int] | None = None) -> BinaryIO | None:
        """Open the newest snapshot of a run, or a kept one. None where it was deleted meanwhile.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.handler.open(run.run_id, kept)

    def counts(
        self, flow: str, by: Sequence[str], where: Where | None
    ) -> dict[tuple[str | None, ...], int]:
        """Count runs by facts of their headers, see `Store.count`."""
        return Counter(tuple(_fact(run, one) for one in by) for run in self.found(flow, where))

    def summaries(self) -> list[FlowSummary]:
        """Sum up each flow, in the order of their names."""
        flows: dict[str, FlowSums] = {}
        for run in self.found(""):
            flows.setdefault(run.flow, FlowSums()).add(run)
        return [flows[name].summary(name) for name in sorted(flows)]

    def _examined(self, snapshot: FoundSnapshot) -> FoundRun | None:
        """Read the header of a run. None where it was deleted meanwhile."""
        found = FoundRun(snapshot.location, snapshot.run_id, snapshot.flow, key=snapshot.run_id)
        try:
            file = snapshot.open()
        except CheckpointError as error:
            return found._replace(error=error)
        if file is None:
            return None
        with closing(file):
            found = found._replace(size=file.seek(0, os.SEEK_END))

            def read(codec: Codec) -> Header:
                stored = codec.open(file, snapshot.location)
                if stored is None:
                    reason = "it is empty, so nothing is stored in it"
                    raise CorruptSnapshotError(snapshot.location, reason)
                return stored.header

            return examined(found, read, self._codec_of, snapshot.known)


def _fact(run: FoundRun, name: str) -> str | None:
    header = run.header
    if name == "status" or header is None:
        return run.status if name == "status" else None
    if name == "step":
        return header.next_step
    return None if header.failure is None else header.failure.type
