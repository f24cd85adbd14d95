"""Reading the headers of any store without its flow, and without any change to it."""

from __future__ import annotations

import errno
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._model.start_record import shown_header
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    CheckpointError,
    InvalidValueError,
    StorageError,
)
from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._query import Query, select

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._addresses import StoreAddress
    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._found_snapshots import FoundSnapshot

__all__ = ["inspect", "inspect_all", "nothing_stored", "one_of_several"]


@front_door
def inspect(
    path: str | os.PathLike[str], *, run_id: str | None = None, flow: str | None = None
) -> Header:
    """Read the header of a stored run without executing anything of it, and without a write.

    The snapshot is checked against its digests, not against a signature: `Header.signed_by` names
    the secret that it claims. For a bare pickle, as gumly writes it, the header holds the position
    and the sizes. A database is read by a connection for reading alone, also while it is in use.

    Args:
        path: The path or URL as it is given to `CheckpointFlow`. A file says itself whether it is
            a database. Or the location of a run, as `cp.handler.locate(run_id)` names it.
        run_id: The run. None for the run without an id, or for that of the location.
        flow: Name of the flow, where several in a database have that run.

    Returns:
        The header, with `sizes`: bytes by key of the state. Status, owner and starts are those that
        `header()` of a flow shows. A lock that this user may not read leaves the owner out.

    Raises:
        StorageError: Nothing is stored there, or it cannot be read, or is a FIFO or device. Or
            `path` is relative, and the working directory was deleted.
        CorruptSnapshotError: The snapshot is empty, damaged, that of another run, or none.
        IncompatibleSnapshotError: Its format is of a later version.
        InvalidTypeError: `path` is no path, or `run_id` no id.
        InvalidValueError: Several flows have that run, or an argument is invalid.
        UnknownHandlerError, MissingExtraError: No handler is known for the path's scheme, or it
            needs a module that is not installed.
    """
    address = find_store(path, flow, run_id)
    handler = address.open(address.flow or "")
    found: dict[str, Header] = {}
    for snapshot in handler.find_snapshots(address.run_id):
        header = _header_of(snapshot, handler)
        if header is not None:
            found[snapshot.flow] = header
    if not found:
        raise nothing_stored(address, handler)
    return found[one_of_several(found, address)]


@front_door
def inspect_all(path: str | os.PathLike[str], *, flow: str | None = None) -> list[Header]:
    """Read the headers of all runs in a store, as `inspect` does for one.

    A snapshot that is damaged, or of a later version, is left out, with a warning in the log.

    Args:
        path: The path or URL as it is given to `CheckpointFlow`. A file says itself whether it is
            a database.
        flow: Only the runs of this flow. Of all flows by default.

    Returns:
        The headers with `sizes`, the latest begun first.

    Raises:
        StorageError: Nothing is at the path, or it cannot be read.
        InvalidTypeError, InvalidValueError: `path` is no path, or the location of one run, or an
            argument is invalid.
        UnknownHandlerError, MissingExtraError: No handler is known for the path's scheme, or it
            needs a module that is not installed.
    """
    address = find_store(path, flow, None)
    address.check_whole("inspect")
    handler = address.open(address.flow or "")
    headers: list[Header] = []
    for snapshot in handler.find_all_snapshots():
        try:
            header = _header_of(snapshot, handler)
        except CheckpointError as error:
            log_left_out(error, RunPlace(snapshot.flow or handler.flow, snapshot.run_id))
            continue
        if header is not None:
            headers.append(header)
    if not headers and not handler.exists():
        raise nothing_stored(address, handler)
    return select(headers, Query())


def _header_of(snapshot: FoundSnapshot, handler: StateHandler) -> Header | None:
    """Check a snapshot, and give its header with the sizes. None where nothing is stored."""
    file = snapshot.open()
    if file is None:
        return None
    with closing(file):
        stored = Codec().open_stored(file, snapshot.location)
        header = stored.header
        is_named = bool(snapshot.flow) or snapshot.run_id is not None
        if header.library and is_named:
            handler.check_run(header, snapshot.run_id, snapshot.location)
        stored.checked_payload()
        return replace(shown_header(header, snapshot.known), sizes=stored.sizes())


def one_of_several(flows: Iterable[str], address: StoreAddress) -> str:
    """Return the flow that has a run.

    Raises:
        InvalidValueError: Several have it.
    """
    first, *others = sorted(flows)
    if others:
        names = ", ".join(map(repr, (first, *others)))
        run = "a run without an id" if address.run_id is None else f"the run {address.run_id!r}"
        raise InvalidValueError(
            f"{address} has {run} of each of the flows {names}: name one by flow=."
        )
    return first


def nothing_stored(address: StoreAddress, handler: StateHandler) -> StorageError:
    """The error for a run, or a store, that is not there."""
    location = handler.locate(address.run_id)
    if not handler.flow and not address.is_file:  # Of no flow in particular.
        place = handler.reader().shown_place or str(address)
        location = place if address.run_id is None else f"{place}, run {address.run_id!r}"
    if not handler.exists():
        remedy = handler.missing_words()
    elif address.run_id is None:
        remedy = (
            "A run with an id is named by run_id=. All runs are listed by "
            f"aiocheckpoint.inspect_all({str(address)!r})."
        )
    else:
        remedy = f"All runs are listed by aiocheckpoint.inspect_all({str(address)!r})."
    return StorageError(location, f"nothing is stored in {location}. {remedy}", errno=errno.ENOENT)
