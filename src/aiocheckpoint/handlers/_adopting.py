"""Signing stored snapshots as they are, one run or all of a store, without their flow."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypedDict, Unpack

from aiocheckpoint._logging import log_signed_otherwise
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint._version import __version__
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidValueError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers._inspecting import nothing_stored, one_of_several
from aiocheckpoint.handlers._locks import holding
from aiocheckpoint.handlers._refused_runs import RefusedRuns
from aiocheckpoint.handlers._stored_progress import adopted_progress
from aiocheckpoint.handlers._urls import flow_name

if TYPE_CHECKING:
    import os

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint.handlers._addresses import StoreAddress
    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._leases import LockKind

__all__ = ["AdoptOptions", "adopt", "adopt_all"]


class AdoptOptions(TypedDict, total=False):
    """The options of `adopt` and `adopt_all`. A secret that is None is refused.

    Attributes:
        secret: The secret to sign with, the first of several. The others are those with which
            snapshots to be signed anew are signed now.
        lock: The kind of lock of files and directories, "kernel" or "lease", as the flows have it.
            A run with a lock file shows it. Pass "lease" where flows may start runs meanwhile.
        lease: Length of the lease in seconds, under `lock="lease"` and for SQLite.
    """

    secret: Secrets
    lock: LockKind
    lease: float


@front_door
def adopt(
    path: str | os.PathLike[str],
    *,
    flow: str | None = None,
    run_id: str | None = None,
    **options: Unpack[AdoptOptions],
) -> Header:
    """Take a stored snapshot or a pickled dict as it is, because you know its origin.

    With a secret, it is signed. Use that for snapshots written by gumly, without a secret, with an
    older secret, which is given too, or, of files, for a flow that had another name. A pickled dict
    without a position, which flows refuse, becomes the state of a first run. Nothing of it is
    executed. From then on it is trusted, with all globals that it names. Retained snapshots are not
    signed.

    Args:
        path: The path or URL as it is given to `CheckpointFlow`. A file says itself whether it is
            a database. Or the location of a run, as `cp.handler.locate(run_id)` names it.
        flow: The flow's name. By default the file name without its ending. In a database, the flow
            that has the run.
        run_id: The run. None for the run without an id, or for that of the location.
        options: `secret=`, the secret to sign with, the first of several, such as `[new, old]`.
            Without it, nothing is signed. Of files also `lock="lease"` and
            `lease=`, see `AdoptOptions`.

    Returns:
        The header now stored.

    Raises:
        StorageError: Nothing is stored there, or it cannot be read or written. Or `path` is
            relative, and the working directory was deleted.
        CorruptSnapshotError: The snapshot is damaged, or that of another run, or it is no snapshot
            and no pickled dict.
        IncompatibleSnapshotError: Its format is of a later version.
        RunInProgressError: The run is in progress.
        InvalidTypeError, InvalidValueError: An argument is invalid, several flows have the run, or
            the snapshot is signed with a secret that is not among the given ones.
        UnknownHandlerError, MissingExtraError: No handler is known for the path's scheme, or it
            needs a module that is not installed.
    """
    address = find_store(path, flow, run_id)
    name = _flow_of(address)
    signing = address.open(name, options)
    return _adopted(address, signing, _reading(address, name, adopts=True), address.run_id)


@front_door
def adopt_all(
    path: str | os.PathLike[str], *, flow: str | None = None, **options: Unpack[AdoptOptions]
) -> int:
    """Take the snapshots of all runs in a store as they are, as `adopt` does for one.

    Use it to introduce a secret: end the processes without it, call this, and start them with it.
    Each run is signed by itself, and stays what it was until then. Where the process is killed in
    between, call it again: what is signed already is left alone. A pickled dict without a position
    is somebody's file, and is taken by `adopt` alone.

    To change a secret, give both, `secret=[new, old]`. What is signed with a secret that is not
    among the given ones is passed over, and a warning in the log says how many runs that are.

    Args:
        path: The path or URL as it is given to `CheckpointFlow`. A file says itself whether it is
            a database.
        flow: The flow's name. Of files by default the file name without its ending. Of a database
            only this flow's runs are taken, by default those of every flow, each for its own.
        options: `secret=`, the secret to sign with, the first of several. Without it, nothing is
            signed. Of files also `lock="lease"` and `lease=`, see `AdoptOptions`.

    Returns:
        The number of runs that were changed.

    Raises:
        StorageError: Nothing is at the path, or it cannot be read or written.
        CorruptSnapshotError, IncompatibleSnapshotError, RunInProgressError, InvalidValueError: The
            first refusal of a run, as in `adopt`, when all others are adopted. A note names the
            refused ones. A file of a flow that has another name is one of them.
        InvalidTypeError, InvalidValueError: An argument is invalid, or `path` is the location of
            one run.
        UnknownHandlerError, MissingExtraError: No handler is known for the path's scheme, or it
            needs a module that is not installed.
    """
    address = find_store(path, flow, None)
    address.check_whole("adopt")
    stores: dict[str, tuple[StateHandler, StateHandler]] = {}
    refused, passed = RefusedRuns("adopt_all", "adopted"), list[str]()
    count, whole = 0, address.open(address.flow or "")
    for found in whole.find_all_snapshots():
        name = found.flow or address.flow or flow_name(address.path)
        if name not in stores:
            stores[name] = address.open(name, options), _reading(address, name, adopts=False)
        signing, reading = stores[name]
        with refused.collecting(found.location):
            if _is_adopted(signing, found.run_id):
                continue
            header = reading.header(found.run_id)
            if header is not None and _is_signed_otherwise(signing, header):
                passed.append(found.location)
                continue
            if header is not None and header.flow not in ("", name):
                raise _of_another_flow(header.flow, name, found.location)
            _adopted(address, signing, reading, found.run_id)
            count += 1
    if not stores and not whole.exists():
        raise nothing_stored(address, whole)
    if passed:
        log_signed_otherwise(str(address), passed)
    refused.raise_first(count)
    return count


def _is_signed_otherwise(signing: StateHandler, header: Header) -> bool:
    """Whether a snapshot is signed with a secret that is not among those given, if any are."""
    return bool(signing.key_ids) and header.signed_by not in (None, *signing.key_ids)


def _of_another_flow(stored: str, name: str, location: str) -> InvalidValueError:
    return InvalidValueError(
        f"{location} is a run of the flow {stored!r}, and would be signed for {name!r}. Pass "
        f"flow={stored!r}. If the flow has another name now, adopt({location!r}, flow={name!r}, "
        "...) takes this run for it."
    )


def _flow_of(address: StoreAddress) -> str:
    """The name of the flow that a run is adopted for."""
    if address.flow is not None:
        return address.flow
    handler = address.open("")
    flows = {found.flow for found in handler.find_snapshots(address.run_id)}
    if not flows:
        raise nothing_stored(address, handler)
    return one_of_several(flows, address) or flow_name(address.path)


def _reading(address: StoreAddress, name: str, *, adopts: bool) -> StateHandler:
    """Make a handler that reads snapshots of any origin."""
    reading = address.open("" if address.is_file else name)  # A file may be of any flow.
    reading.codec = Codec(adopts=adopts)
    return reading


def _is_adopted(signing: StateHandler, run_id: str | None) -> bool:
    """Whether a run is signed for its flow by the first secret, or not to be signed at all."""
    with suppress(CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError):
        header = signing.header(run_id)
        first = next(iter(signing.key_ids), None)
        return header is not None and bool(header.library) and header.signed_by == first
    return False


def _adopted(
    address: StoreAddress, signing: StateHandler, reading: StateHandler, run_id: str | None
) -> Header:
    file = reading.open(run_id)  # Before a lock makes a directory for it.
    if file is None:
        raise nothing_stored(address._replace(run_id=run_id), reading)
    file.close()
    with holding(signing.lock_in_use(run_id)) as lock, reading.stored(run_id) as snapshot:
        if snapshot is None:
            raise nothing_stored(address._replace(run_id=run_id), reading)
        snapshot.checked_payload()
        if snapshot.header.signed_by is not None and not signing.key_ids:
            raise InvalidValueError(
                f"{signing.locate(run_id)} is signed, and without secret= its signature would be "
                "lost. Pass the secret to sign with."
            )
        if _is_signed_otherwise(signing, snapshot.header):
            raise InvalidValueError(
                f"{signing.locate(run_id)} is signed with the secret {snapshot.header.signed_by}, "
                "which is not among those of secret=. Flows that have it alone would refuse the "
                "run from then on. Pass it too, secret=[new, old]: the first signs. Where it is "
                "lost, open_handler(path) reads the state, and its write() stores it unsigned."
            )
        header = _header_for(signing, snapshot, run_id)
        progress = adopted_progress(signing, snapshot.header, header)
        write_to = partial(signing.codec.copy, header, snapshot)
        if progress is not None:  # First, as a database may release the lock with the snapshot.
            signing.write_progress(run_id, progress, lock=lock)
        written, _ = signing.replace(run_id, write_to, lock=lock)
        return replace(written, signed_by=next(iter(signing.key_ids), None))


def _header_for(signing: StateHandler, snapshot: StoredSnapshot, run_id: str | None) -> Header:
    found = snapshot.header
    is_same = (found.flow, found.run_id) == (signing.flow, run_id)
    return replace(
        found,
        # A digest made with a secret is of this flow and run alone.
        initial_digest=found.initial_digest if is_same else None,
        flow=signing.flow,
        run_id=run_id,
        sequence=found.sequence + 1,
        library=__version__,
        signed_by=None,
    )
