"""A store that is looked at: its flows, runs, snapshots and counts, with nothing changed."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from aiocheckpoint._closing import ClosedAtEnd
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    InvalidValueError,
    RunNotFoundError,
    SeveralFlowsError,
    StorageError,
)
from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._counting import checked_facts
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._found_runs import Sort
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._inspecting import nothing_stored
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers._urls import absolute_path, redact_url
from aiocheckpoint.look._expected import expected_of
from aiocheckpoint.look._records import CountView, FlowView
from aiocheckpoint.look._snapshots import diff_of, history_of, run_with_state, verified_runs
from aiocheckpoint.look._step_diffs import diffs_of_steps
from aiocheckpoint.look._time_left import with_ends
from aiocheckpoint.look._views import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._addresses import StoreAddress
    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._found_runs import FlowSummary, FoundRun
    from aiocheckpoint.handlers._reader import StoreReader
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.look._records import DiffView, RunView, SnapshotView

__all__ = ["Store", "open_store", "store_of"]


@front_door
def open_store(target: str | os.PathLike[str], *, secret: Secrets | None = None) -> Store:
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
    _check_readable(address)
    handler = address.open("")
    reader = handler.reader(secret)
    if not reader.exists():
        raise nothing_stored(address, handler)
    return Store(reader.shown_place or str(address), reader)


def _check_readable(address: StoreAddress) -> None:
    """Check that a file or directory can be read. One without the right is no damaged run.

    Raises:
        StorageError: It cannot be read, or is neither a regular file nor a directory.
    """
    path = absolute_path(address.path) if address.is_file else ""
    if os.path.isdir(path):
        try:
            os.scandir(path).close()
        except OSError as error:
            raise StorageError.of(path, "reading", error) from error
    elif path:
        file = open_regular(path)
        if file is not None:
            file.close()


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
    given = handler.locate() if handler.path is None else redact_url(os.fspath(handler.path))
    place = reader.shown_place or given
    if not reader.exists():
        raise StorageError(place, f"nothing is stored in {place} yet.", errno=errno.ENOENT)
    return Store(place, reader)


class Store(ClosedAtEnd):
    """A store as it is, for displays. Every method reads it anew. `open_store` makes it.

    A `with` block closes at its end what is open.

    Attributes:
        place: Path or URL of the store, without a password.
    """

    def __init__(self, place: str, reader: StoreReader) -> None:
        self.place: str = place
        self._reader = reader

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.place}>"

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
            InvalidValueError: `sort` is another word, or `limit` no number from 0 on.
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and the store has several.
        """
        _check_list(sort, limit)
        found = self._reader.runs(self._one_flow(flow), where, sort, limit)
        return (view_of(run) for run in found if damaged or run.error is None)

    @front_door
    def run(
        self,
        run_id: str | None,
        *,
        flow: str | None = None,
        values: bool = False,
        sizes: bool = False,
        diffs: bool = False,
    ) -> RunView:
        """Look at one run. Its payload is compared with its digest.

        A running run of a database expects what the newest finished runs of its flow took.

        Args:
            run_id: The run, or None for the one without an id.
            flow: Name of the flow. It may be left out where one flow has the run.
            values: Whether the keys of the state are shown, with their values.
            sizes: Whether the sizes of the keys of the state are shown.
            diffs: Whether it is shown what changed in each step, from the kept snapshots. Of many,
                the newest 20 are compared, for about 5 s at most.

        Raises:
            RunNotFoundError: Nothing is stored of the run.
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and several flows have the run.
        """
        with self._reader as reader:
            found = self._found(run_id, flow)
            view = run_with_state(reader, found, values=values, sizes=sizes)
            if view is None:  # Deleted meanwhile.
                raise RunNotFoundError(found.location, "show")
            if diffs:
                view = replace(view, diffs=diffs_of_steps(reader, found, values=values))
            asks = view.status == "running" and not view.expected
            expected = expected_of(reader, view.flow) if asks else None
        return with_ends(view, time.time(), expected=expected)

    @front_door
    def history(
        self, run_id: str | None, *, flow: str | None = None, keys: bool = False
    ) -> tuple[SnapshotView, ...]:
        """List the kept snapshots of a run, the newest first, which every run has.

        Args:
            run_id: The run, or None for the one without an id.
            flow: Name of the flow. It may be left out where one flow has the run.
            keys: Whether the keys of the states are shown, with types and digests.

        Raises:
            RunNotFoundError, StorageError, SeveralFlowsError: As in `run`.
        """
        with self._reader as reader:
            return history_of(reader, self._found(run_id, flow), keys=keys)

    @front_door
    def diff(
        self,
        run_id: str | None,
        old: str | int | None = None,
        new: str | int | None = None,
        *,
        flow: str | None = None,
        values: bool = False,
    ) -> DiffView:
        """Compare the states of two snapshots of a run.

        Args:
            run_id: The run, or None for the one without an id.
            old: The older snapshot: the name of the step on whose entry it was taken, "finished",
                or its number, see `SnapshotView.sequence`. None for the one before `new`.
            new: The newer one. None for the newest.
            flow: Name of the flow. It may be left out where one flow has the run.
            values: Whether values are shown.

        Raises:
            InvalidValueError: There is no such snapshot, or none before `new`.
            InvalidTypeError: `old` or `new` is neither text nor a number.
            CorruptSnapshotError, IncompatibleSnapshotError: One cannot be read.
            UntrustedSnapshotError: Secrets are given, and one is not correctly signed.
            RunNotFoundError, StorageError, SeveralFlowsError: As in `run`.
        """
        with self._reader as reader:
            return diff_of(reader, self._found(run_id, flow), old, new, values=values)

    @front_door
    def verify(self, *, flow: str | None = None) -> Iterator[RunView]:
        """Check each snapshot of a store: its digests, and its signature where secrets are given.

        Args:
            flow: Name of the flow. None for all flows.

        Returns:
            Each run, with `damage` if its newest snapshot is not sound. Behind it each of its kept
            snapshots that is not sound, which `location` names.

        Raises:
            StorageError: The store cannot be read.
        """
        return verified_runs(self._reader, flow or "")

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
                and "day" (of its newest snapshot, in UTC). Empty for the number of all alone.
            where: Which runs.
            flow: Name of the flow. It may be left out where the store has one.

        Raises:
            InvalidValueError: `by` has another word.
            StorageError: The store cannot be read.
            SeveralFlowsError: `flow` is left out, and the store has several.
        """
        facts = checked_facts(by if isinstance(by, str) else tuple(dict.fromkeys(by)) or None) or ()
        name = self._one_flow(flow)
        counts = self._reader.counts(name, facts, where)
        rows = sorted(counts.items(), key=lambda row: (-row[1], [one or "" for one in row[0]]))
        return CountView(flow=name, by=facts, rows=tuple(rows), total=sum(counts.values()))

    def _found(self, run_id: str | None, flow: str | None) -> FoundRun:
        found = list(self._reader.find(flow or "", checked_run_id(run_id)))
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


def _check_list(sort: object, limit: object) -> None:
    if sort not in get_args(Sort):
        known = ", ".join(map(repr, get_args(Sort)))
        raise InvalidValueError(f"sort={sort!r}: a list is sorted by one of {known}.")
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    if limit is not None and not is_number:
        raise InvalidValueError(f"limit={limit!r}: it is a number from 0 on, or None for all.")
