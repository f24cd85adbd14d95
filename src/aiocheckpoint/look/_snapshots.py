"""The snapshots of a run, read whole: checked, with their keys, and compared with each other."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from aiocheckpoint._model.cursor import decode_cursor
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    StorageError,
)
from aiocheckpoint.look._records import DiffView, ProgressView, RunView, SnapshotView
from aiocheckpoint.look._views import snapshot_view, view_of, with_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.pickling.inert import Inert, InertBounds
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint.handlers._found_runs import FoundRun
    from aiocheckpoint.handlers._reader import StoreReader

    _Readable: TypeAlias = tuple[FoundRun, Header]

__all__ = [
    "compared",
    "diff_of",
    "history_of",
    "run_with_state",
    "state_of",
    "verified_runs",
    "view_with_state",
]


def _checked(file: BinaryIO, location: str) -> StoredSnapshot:
    """Compare a snapshot with its digests.

    Raises:
        CorruptSnapshotError, IncompatibleSnapshotError: It is damaged, or cannot be read.
    """
    stored = Codec().open_stored(file, location)
    stored.checked_payload()
    return stored


def view_with_state(
    run: FoundRun, file: BinaryIO, *, keys: bool = False, values: bool = False, sizes: bool = False
) -> RunView:
    """Make the view of a run whose snapshot is read whole. A damage of it is in the view.

    Args:
        run: The run.
        file: Its snapshot.
        keys: Whether the keys of the state are shown.
        values: Whether they are shown with their values.
        sizes: Whether their sizes are shown.
    """
    more: dict[str, Any] = {}
    try:
        stored = _checked(file, run.location)
        if sizes:
            more["sizes"] = stored.sizes()
        if keys:
            more |= _keys_of(_decoded(file, run.location), values=values)
    except CheckpointError as error:
        run = run._replace(error=run.error or error)
    return replace(view_of(run), **more)


def run_with_state(
    reader: StoreReader, run: FoundRun, *, values: bool, sizes: bool
) -> RunView | None:
    """Read the snapshot of a run whole. None where it was deleted meanwhile.

    Args:
        reader: The store.
        run: The run.
        values: Whether the keys of the state are shown, with their values.
        sizes: Whether their sizes are shown.
    """
    try:
        file = reader.open(run)
    except CheckpointError as error:
        return view_of(run._replace(error=run.error or error))
    if file is None:
        return None
    with closing(file):
        view = view_with_state(run, file, keys=values, values=values, sizes=sizes)
    progress = _progress_of(reader, run, values=values)
    return view if progress is None else with_progress(view, progress)


def _progress_of(reader: StoreReader, run: FoundRun, *, values: bool) -> ProgressView | None:
    """Make the view of the progress of the step at which a run stands.

    None where none is stored, or it cannot be read. The run is shown all the same.
    """
    try:
        found = reader.progress(run)
    except CheckpointError:
        return None
    if found is None:
        return None
    return ProgressView(
        step=found.step,
        done=found.done,
        total=found.total,
        note=found.note,
        at=found.at,
        cursor=decode_cursor(found.cursor) if values else None,
        cursor_size=len(found.cursor.encode()),
        shown=values,
    )


def verified_runs(reader: StoreReader, flow: str) -> Iterator[RunView]:
    """Check all snapshots of a store, see `Store.verify`."""
    with reader:
        for run in reader.found(flow):
            view = run_with_state(reader, run, values=False, sizes=False)
            if view is None:
                continue
            yield view
            for kept in reader.snapshots(run)[1:]:
                view = run_with_state(reader, kept, values=False, sizes=False)
                if view is not None and view.damage is not None:
                    yield view


def history_of(reader: StoreReader, run: FoundRun, *, keys: bool) -> tuple[SnapshotView, ...]:
    """Make the views of all snapshots of a run, the newest first.

    Args:
        reader: The store.
        run: The run.
        keys: Whether the keys of the states are shown.
    """
    views: list[SnapshotView] = []
    for one in reader.snapshots(run):
        bare = snapshot_view(one)
        view = _with_keys(reader, one, bare) if keys else bare
        if view is not None:
            views.append(view)
    return tuple(views)


def _with_keys(reader: StoreReader, one: FoundRun, view: SnapshotView) -> SnapshotView | None:
    try:
        found = state_of(reader, one)
    except CheckpointError as error:
        damaged = one._replace(error=one.error or error)
        return snapshot_view(damaged)
    return None if found is None else replace(view, **_keys_of(found.inert, values=False))


def _keys_of(inert: Inert, *, values: bool) -> dict[str, Any]:
    from aiocheckpoint.look._states import key_views  # noqa: PLC0415 - lists need no decoder

    return {"keys": key_views(inert, values=values), "complete": inert.complete}


def _decoded(file: BinaryIO, location: str, bounds: InertBounds | None = None) -> Inert:
    from aiocheckpoint.look._states import decoded  # noqa: PLC0415 - as above

    return decoded(file, location, bounds)


class ReadState(NamedTuple):
    """A state that was read and decoded.

    Attributes:
        sequence: Number of its snapshot, as it was when the state was read.
        inert: The state.
    """

    sequence: int
    inert: Inert


def state_of(
    reader: StoreReader, one: FoundRun, bounds: InertBounds | None = None
) -> ReadState | None:
    """Decode the state of a snapshot. None where it was deleted meanwhile.

    Args:
        reader: The store.
        one: The snapshot.
        bounds: The bounds of the decoder, or None for its usual ones.

    Raises:
        CheckpointError: It is damaged, wrongly signed, or cannot be read.
    """
    if one.error is not None:
        raise one.error
    file = reader.open(one)
    if file is None:
        return None
    with closing(file):
        stored = _checked(file, one.location)
        return ReadState(stored.header.sequence, _decoded(file, one.location, bounds))


def diff_of(
    reader: StoreReader,
    run: FoundRun,
    old: str | int | None,
    new: str | int | None,
    *,
    values: bool,
) -> DiffView:
    """Compare two snapshots of a run, see `Store.diff`."""
    found = [(one, one.header) for one in reader.snapshots(run) if one.header is not None]
    earlier, later = _chosen(found, run, old, new)
    first, second = state_of(reader, earlier), state_of(reader, later)
    if first is None or second is None:
        raise StorageError(run.location, f"a snapshot of {run.location} was deleted meanwhile.")
    return compared((earlier, first.inert), (later, second.inert), values=values)


def compared(
    earlier: tuple[FoundRun, Inert],
    later: tuple[FoundRun, Inert],
    *,
    values: bool,
    bounds: InertBounds | None = None,
) -> DiffView:
    """Compare two snapshots of a run, whose states are given.

    Args:
        earlier: The older one, with its state.
        later: The newer one.
        values: Whether values are shown.
        bounds: The bounds of the comparison, or None for its usual ones.
    """
    from aiocheckpoint._snapshot.pickling.inert import diff_trees  # noqa: PLC0415
    from aiocheckpoint.look._states import change_views, shown_key  # noqa: PLC0415

    differences = diff_trees(earlier[1], later[1], *filter(None, (bounds,)))
    return DiffView(
        flow=later[0].flow,
        run_id=later[0].run_id,
        old=snapshot_view(earlier[0]),
        new=snapshot_view(later[0]),
        changes=change_views(differences, values=values, bounds=bounds),
        same=tuple(shown_key(key) for key in differences.same),
        complete=differences.complete,
        shown=values,
    )


def _chosen(
    found: Sequence[_Readable], run: FoundRun, old: str | int | None, new: str | int | None
) -> tuple[FoundRun, FoundRun]:
    """Choose the older and the newer of the snapshots whose headers can be read."""
    if not found:
        raise run.error or CorruptSnapshotError(run.location, "its header cannot be read")
    later = found[0] if new is None else _named(found, run, new)
    if old is not None:
        return _named(found, run, old)[0], later[0]
    older = found[found.index(later) + 1 :]
    if not older:
        raise InvalidValueError(
            f"of {run.location} no snapshot is kept that is older than number "
            f"{later[1].sequence}, so there is nothing to compare it with. A flow keeps more "
            'than the newest with keep=10, or keep="all".'
        )
    return older[0][0], later[0]


def _named(found: Sequence[_Readable], run: FoundRun, name: str | int) -> _Readable:
    if isinstance(name, bool) or not isinstance(name, (str, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(name).__name__
        raise InvalidTypeError(f"a snapshot is named by a step or a number, not by a {kind}.")
    for one, header in found:
        known = header.sequence if isinstance(name, int) else _step(header)
        if known == name:
            return one, header
    kept = ", ".join(f"{header.sequence} ({_step(header)})" for _, header in found)
    raise InvalidValueError(
        f"of {run.location} no snapshot {name!r} is kept. Kept are, the newest first: {kept}."
    )


def _step(header: Header) -> str:
    """The step on whose entry a snapshot was taken, or "finished"."""
    return "finished" if header.finished else header.next_step or f"step {header.position}"
