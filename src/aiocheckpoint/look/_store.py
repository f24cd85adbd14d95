"""A store that is looked at: its flows, runs, snapshots and counts, with nothing changed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Self

from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import RunNotFoundError, SeveralFlowsError, StorageError
from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._counting import checked_facts
from aiocheckpoint.handlers._inspecting import nothing_stored
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers._urls import redact_url
from aiocheckpoint.look._records import CountView, FlowView, RunView
from aiocheckpoint.look._views import run_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from aiocheckpoint._snapshot.signing import Secret
    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._found_runs import FlowSummary, FoundRun, Sort
    from aiocheckpoint.handlers._reading import StoreReader
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["Store", "open_store", "store_of"]


@front_door
def open_store(
    target: str | os.PathLike[str], *, secret: Secret | Sequence[Secret] | None = None
) -> Store:
    """Open a store to look into it. Nothing of it is executed or changed.

    Args:
        target: The path or URL as it is given to `CheckpointFlow`. A file says itself whether it
            is a database.
        secret: Secrets that signatures are checked with. Without, none is checked. With one, a
            snapshot that is not correctly signed is shown as damaged.

    Returns:
        The store. It opens what it reads at each call.

    Raises:
        StorageError: Nothing is stored there, or it cannot be read.
        IncompatibleSnapshotError: It is a database of a later version of this library.
        InvalidTypeError, InvalidValueError: `target` is no path, or the location of one run, or a
            secret is invalid.
        UnknownHandlerError, MissingExtraError: No handler is known for the scheme, or it needs a
            module that is not installed.
    """
    address = find_store(target, None, None)
    address.check_whole("inspect")
    handler = address.open("")
    reader = handler.reader(secret)
    if not reader.exists():
        raise nothing_stored(address, handler)
    return Store(str(address), reader)


@front_door
def store_of(handler: StateHandler) -> Store:
    """Look into the store of a flow's own handler. Signatures are checked with its secrets.

    Args:
        handler: The handler of a flow.

    Raises:
        StorageError: Nothing is stored there, or it cannot be read.
        IncompatibleSnapshotError: It is a database of a later version of this library.
    """
    reader = handler.reader()
    reader.checks_with(handler.codec)
    place = handler.locate() if handler.path is None else redact_url(os.fspath(handler.path))
    if not reader.exists():
        raise StorageError(place, f"nothing is stored in {place} yet.", errno=errno.ENOENT)
    return Store(place, reader)


class Store:
    """A store as it is, for displays. Every method reads it anew. `open_store` makes it.

    A `with` block closes at its end what is open.

    Attributes:
        place: Path or URL of the store, without a password.
    """

    def __init__(self, place: str, reader: StoreReader) -> None:
        self.place: str = place
        self._reader = reader

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
        """Close what is open. The next call opens it again."""
        self._reader.close()

    @front_door
    def flows(self) -> tuple[FlowView, ...]:
        """List the flows, in the order of their names.

        Raises:
            StorageError: The store cannot be read.
        """
        return tuple(self._flow_view(one) for one in self._reader.summaries())

    @front_door
    def runs(
        self,
        where: RunFilter = ALL,
        *,
        flow: str | None = None,
        limit: int | None = None,
        sort: Sort = "began",
        damaged: bool = True,
    ) -> Iterator[RunView]:
        """List runs, one by one.

        Args:
            where: Which runs.
            flow: Name of the flow. It may be left out where the store has one.
            limit: The most runs, None for all.
            sort: "began" for the run that began last first, "wrote" for the one that was written
                last, "took" for the one that took longest.
            damaged: Whether runs that cannot be read are listed.

        Raises:
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and the store has several.
        """
        found = self._reader.runs(self._one_flow(flow), where, sort, limit)
        return (_view_of(run) for run in found if damaged or run.error is None)

    @front_door
    def run(
        self,
        run_id: str | None,
        *,
        flow: str | None = None,
        values: bool = False,
        sizes: bool = False,
    ) -> RunView:
        """Look at one run. Its payload is compared with its digest.

        Args:
            run_id: The run, or None for the one without an id.
            flow: Name of the flow. It may be left out where one flow has the run.
            values: Whether the keys of the state are shown, with their values.
            sizes: Whether the sizes of the keys of the state are shown.

        Raises:
            RunNotFoundError: Nothing is stored of the run.
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and several flows have the run.
        """
        del values, sizes
        return _view_of(self._found(run_id, flow))

    @front_door
    def count(
        self,
        by: str | Sequence[str] = ("status",),
        where: RunFilter = ALL,
        *,
        flow: str | None = None,
    ) -> CountView:
        """Count runs by one or more facts. No state is read.

        Args:
            by: Of "status", "step" (at which a run stands), "error" (the type of what it broke on)
                and "day" (of its newest snapshot, in UTC).
            where: Which runs.
            flow: Name of the flow. It may be left out where the store has one.

        Raises:
            InvalidValueError: `by` has another word, or none.
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and the store has several.
        """
        facts = checked_facts(by if isinstance(by, str) else tuple(by)) or ()
        name = self._one_flow(flow)
        counts = self._reader.counts(name, facts, where)
        rows = sorted(counts.items(), key=lambda row: (-row[1], [one or "" for one in row[0]]))
        return CountView(flow=name, by=facts, rows=tuple(rows), total=sum(counts.values()))

    def _found(self, run_id: str | None, flow: str | None) -> FoundRun:
        found = list(self._reader.find(flow or "", run_id))
        if not found:
            place = self.place if run_id is None else f"{self.place}, run {run_id!r}"
            raise RunNotFoundError(place, "show")
        if len(found) > 1:
            raise SeveralFlowsError(self.place, tuple(run.flow for run in found))
        return found[0]

    def _one_flow(self, flow: str | None) -> str:
        if flow is not None:
            return flow
        names = self._reader.flow_names()
        if len(names) > 1:
            raise SeveralFlowsError(self.place, names)
        return names[0] if names else ""

    def _flow_view(self, one: FlowSummary) -> FlowView:
        return FlowView(
            flow=one.flow,
            place=self.place,
            counts=one.counts,
            damaged=one.damaged,
            size=one.size,
            oldest=one.oldest,
            newest=one.newest,
            steps=one.steps,
        )


def _view_of(run: FoundRun) -> RunView:
    if run.header is None:
        return RunView(
            flow=run.flow,
            run_id=run.run_id,
            location=run.location,
            status="damaged",
            damage=run.reason,
            size=run.size,
        )
    return run_view(
        run.header, run.location, size=run.size, verified=run.verified, damage=run.reason
    )
