"""States and headers to bytes and back. Knows no files, only streams of bytes.

A snapshot is a pickle stream, the payload, followed by a footer (see `footer`). Unpicklers stop
at the STOP opcode of the payload, and so read no footer. The payload is a dict: the state, with the
position under the key "checkpoint_index". A state that was written by hand without that key has
none. gumly writes a dict with the key without a footer, as a bare pickle. Any other file without a
footer is no snapshot.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.footer import TRAILER_BYTES, Footer, pack_footer, read_footer
from aiocheckpoint._snapshot.header_json import decode_header, encode_header
from aiocheckpoint._snapshot.initial_state import compare_states, record_state
from aiocheckpoint._snapshot.keys import POSITION_KEY, is_position
from aiocheckpoint._snapshot.origins import bears_marks, refuse_pickle, without_reset
from aiocheckpoint._snapshot.payload import PIECE_BYTES, PayloadWriter, is_payload, position_added
from aiocheckpoint._snapshot.pickling.diagnosis import find_unserializable
from aiocheckpoint._snapshot.pickling.names import StepModules
from aiocheckpoint._snapshot.pickling.new_types import find_unloadable
from aiocheckpoint._snapshot.pickling.serializer import (
    NotSmallError,
    UnserializableError,
    dump,
    dump_small,
)
from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot, digest_of, scan_pickle
from aiocheckpoint._snapshot.versions import stamped
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    ForeignFileError,
    IncompatibleSnapshotError,
    UnserializableStateError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._snapshot.new_headers import NewHeaders
    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.summary import PickleSummary
    from aiocheckpoint._snapshot.signing import Signer
    from aiocheckpoint._snapshot.target import SnapshotTarget


__all__ = ["Codec", "EncodedSnapshot"]

Encode: TypeAlias = "Callable[[Header], bytes]"

EncodedSnapshot: TypeAlias = tuple[Header, bytes, bytes]
"""A snapshot in memory: its header as written, the payload with the position in it, and the footer,
which holds the encoded header."""


class Codec:
    """Writes and reads the snapshots of a flow.

    Args:
        signer: Signs and verifies snapshots. None for no signatures.
        allow: The allowlist of globals in a payload. None for all.
        verify: Whether each snapshot is loaded back before it counts.
        adopts: Whether a bare pickle of a dict without a position is read as a first state.

    Attributes:
        modules: The modules of the steps of the flows that use this codec.
    """

    __slots__ = ("adopts", "allow", "modules", "signer", "verify")

    def __init__(
        self,
        signer: Signer | None = None,
        allow: Allow | None = None,
        *,
        verify: bool = False,
        adopts: bool = False,
    ) -> None:
        self.signer: Signer | None = signer
        self.allow: Allow | None = allow
        self.verify: bool = verify
        self.modules: StepModules = StepModules()
        self.adopts: bool = adopts

    def __repr__(self) -> str:
        """The signer, the number of allowed globals and `verify`, never a key."""
        allowed = "any global" if self.allow is None else f"{len(self.allow)} globals"
        return f"<Codec signer={self.signer!r}, {allowed}, verify={self.verify}>"

    def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        target: SnapshotTarget,
        encode: Encode = encode_header,
        *,
        with_position: bool = True,
    ) -> Header:
        """Write a whole snapshot of `state` after `step` into `target`.

        Args:
            header: The header. If its initial digest is `UNDIGESTED`, the state is digested.
            state: The state.
            step: Name of the last finished step, or None before the first.
            target: Takes the bytes.
            encode: Encodes the header. A run has a `HeaderEncoder` of its own for it.
            with_position: Whether the stored dict gets the key of the position. Without, it is the
                state as it stands, at the first step.

        Returns:
            The header as written: with `code` and the versions of this program.

        Raises:
            UnserializableStateError: The state holds a value that cannot be dumped, or the first
                one of a type that cannot be loaded again. With `verify`, any such value.
            FlowDefinitionError: The names of the steps are too long for a header.
        """
        payload, met = PayloadWriter(target), dict[type, object]()
        try:
            code = dump(state, payload, self.allow, modules=self.modules, met=met)
        except UnserializableError as error:
            offenders = find_unserializable(state, self.allow, self.modules) or (
                ("state", str(error)),
            )
            raise UnserializableStateError(step, offenders) from error
        if not self.verify:
            offenders = find_unloadable(state, met, self.allow, self.modules)
            if offenders:
                raise UnserializableStateError(step, offenders)
        length, digest = payload.finish(header.position if with_position else None)
        header = stamped(header, code=code)
        if header.initial_digest == UNDIGESTED:
            header = self._digested(header, state)
        payload.flush_with(pack_footer(encode(header), length, digest, self.signer))
        if self.verify:
            self._read_back(state, step, target)
        return header

    def encode_small(
        self, header: Header, state: dict[str, Any], encode: Encode = encode_header
    ) -> EncodedSnapshot:
        """Make the snapshot of a small state of plain values, without stalling an event loop.

        Raises:
            NotSmallError: The state is large, or not made of plain values.
        """
        payload = dump_small(state, self.allow)[:-1] + position_added(header.position)
        header = stamped(header)
        if header.initial_digest == UNDIGESTED:
            header = self._digested(header, state)
        digest = hashlib.sha256(payload).digest()
        footer = pack_footer(encode(header), len(payload), digest, self.signer)
        return header, payload, footer

    def encode_new(
        self, headers: NewHeaders, run_id: str, state: dict[str, Any]
    ) -> EncodedSnapshot:
        """Do as `encode_small` for the first snapshot of a run, one of many.

        Raises:
            NotSmallError: As there.
        """
        payload = dump_small(state, self.allow)[:-1] + position_added(headers.common.position)
        header = headers.of(run_id, self._initial_digest(state, run_id))
        digest = hashlib.sha256(payload).digest()
        footer = pack_footer(headers.encode(header), len(payload), digest, self.signer)
        return header, payload, footer

    def is_small(self, state: dict[str, Any]) -> bool:
        """Whether digesting a state takes so little time that an event loop can wait for it."""
        try:
            dump_small(state, self.allow)
        except NotSmallError:
            return False
        return True

    def compare(self, header: Header, state: dict[str, Any]) -> Sameness:
        """Compare a state with the one that the run of a header began with."""
        if header.initial_digest is None:
            return "unknown"
        return compare_states(header.initial_digest, state, self.signer, header.run_id)

    def _digested(self, header: Header, state: dict[str, Any]) -> Header:
        """The header with the digest of the initial state, of which this is the first snapshot."""
        attributes = header.__dict__.copy()
        attributes["initial_digest"] = self._initial_digest(state, header.run_id)
        return header.from_trusted(attributes)

    def _initial_digest(self, state: dict[str, Any], run_id: str | None) -> str | None:
        try:
            return record_state(state, self.signer, run_id)
        except RuntimeError:  # Another thread changes the state. Storing it says so, if it fails.
            return None

    def copy(self, header: Header, stored: StoredSnapshot, target: SnapshotTarget) -> Header:
        """Write the payload of `stored`, with the same bytes and digest, under another header."""
        stored.file.seek(0)
        left = stored.payload_length
        while piece := stored.file.read(min(left, PIECE_BYTES)):
            target.write(piece)
            left -= len(piece)
        encoded, digest = encode_header(header), stored.payload_digest
        target.write(pack_footer(encoded, stored.payload_length, digest, self.signer))
        return header

    def open(self, file: BinaryIO, location: str) -> StoredSnapshot | None:
        """Read and check the footer, executing nothing.

        Args:
            file: The snapshot, seekable.
            location: Where it is, for messages.

        Returns:
            The snapshot, or None if the file is empty. A bare pickle gets a header made from its
            opcodes.

        Raises:
            CorruptSnapshotError: The file is damaged or no snapshot. A `ForeignFileError`: it is
                somebody's own pickle.
            IncompatibleSnapshotError: Its format is of a later version.
            UntrustedSnapshotError: A valid signature is required and missing.
        """
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return None
        footer = read_footer(file, size, location, self.signer)
        if footer is None:
            if self.signer is not None:
                raise UntrustedSnapshotError(location, "it has no footer, so it is not signed")
            header = _header_of_bare(file, size, location, adopts=self.adopts)
            footer = Footer(b"", size, digest_of(file, size), None)
        else:
            header = _decoded(footer, location)
        return StoredSnapshot(
            header,
            file,
            location,
            payload_length=footer.payload_length,
            payload_digest=footer.payload_digest,
            allow=self.allow,
            modules=self.modules,
            guarded=self.signer is not None or self.allow is not None,
        )

    def open_stored(self, file: BinaryIO, location: str) -> StoredSnapshot:
        """As `open`, where something must be stored.

        Raises:
            CorruptSnapshotError: The file is empty, or as in `open`.
            IncompatibleSnapshotError, UntrustedSnapshotError: As in `open`.
        """
        stored = self.open(file, location)
        if stored is None:
            raise CorruptSnapshotError(location, "it is empty, so nothing is stored in it")
        return stored

    def peek(self, footer: bytes, payload_length: int, location: str) -> Header:
        """Check and read a footer that is stored apart from its payload.

        Raises:
            CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError: As in `open`.
        """
        found = read_footer(BytesIO(footer), payload_length + len(footer), location, self.signer)
        if found is None:
            raise CorruptSnapshotError(location, "its footer has no magic")
        return _decoded(found, location)

    def _read_back(self, state: dict[str, Any], step: str | None, target: SnapshotTarget) -> None:
        with target.read_back() as file:
            stored = self.open(file, "the snapshot just written")
            if stored is None:
                raise CorruptSnapshotError("the snapshot just written", "it reads as empty")
            try:
                stored.state()
            except (IncompatibleSnapshotError, UntrustedSnapshotError) as error:
                offenders = find_unserializable(state, self.allow, self.modules, load_back=True)
                whole = (("state", f"it would not load again: {error.reason}"),)
                raise UnserializableStateError(step, offenders or whole) from error


def _decoded(footer: Footer, location: str) -> Header:
    try:
        header = decode_header(footer.header)
    except (ValueError, OverflowError, RecursionError) as error:
        raise CorruptSnapshotError(location, "its header cannot be read") from error
    return header if footer.signed_by is None else replace(header, signed_by=footer.signed_by)


def _header_of_bare(file: BinaryIO, size: int, location: str, *, adopts: bool) -> Header:
    """Make the header of a file that is one pickle stream from its first byte to its last."""
    try:
        seen = scan_pickle(file, size, location)
    except CorruptSnapshotError as error:
        if bears_marks(file, size, is_broken=True):
            raise
        raise without_reset(error) from error
    try:
        return _scanned_header(seen, file, size, location, adopts=adopts)
    except ForeignFileError:
        raise
    except CorruptSnapshotError as error:
        is_ours = seen.is_dict and is_position(seen.position)
        if is_ours or bears_marks(file, size, is_broken=False):
            raise
        raise without_reset(error) from error


def _scanned_header(
    seen: PickleSummary, file: BinaryIO, size: int, location: str, *, adopts: bool
) -> Header:
    if seen.end != size:
        raise CorruptSnapshotError(location, f"other bytes follow its pickle, from byte {seen.end}")
    if not seen.is_dict or (seen.position is None and not adopts):
        raise refuse_pickle(location, is_dict=seen.is_dict)
    file.seek(max(0, size - TRAILER_BYTES))
    if is_payload(file.read()):
        raise CorruptSnapshotError(location, "it is cut off: the footer is missing")
    position = 0 if seen.position is None else seen.position
    if not is_position(position):
        reason = f"the {POSITION_KEY} in it is no index of a step"
        raise CorruptSnapshotError(location, reason)
    return Header.without_names("", None, cast("int", position))
