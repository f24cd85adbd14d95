"""States and headers to bytes and back. Knows no files, only streams of bytes.

A snapshot is a pickle stream, the payload, followed by a footer (see `_footer`). Unpicklers stop
at the payload's STOP opcode and so read that alone: a dict, the state with the position added under
the key "checkpoint_index". A file without a footer is a bare pickle of such a dict, as gumly writes
it, or it is no snapshot.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, cast

from aiocheckpoint._footer import TRAILER_BYTES, Footer, pack_footer, read_footer
from aiocheckpoint._header import PYTHON_VERSION, Header
from aiocheckpoint._offenders import find_offenders
from aiocheckpoint._opcodes import MalformedError, survey
from aiocheckpoint._payload import (
    LAST_POSITION,
    PIECE_BYTES,
    POSITION_KEY,
    PayloadWriter,
    is_payload,
)
from aiocheckpoint._serializer import (
    RefusedGlobalError,
    Sink,
    UnserializableError,
    dump,
    load,
)
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    UnserializableStateError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from aiocheckpoint._allow import Allow
    from aiocheckpoint._signing import Signer


__all__ = ["POSITION_KEY", "Codec", "Stored", "Target", "position_of"]


class Target(Sink, Protocol):
    """Where the bytes of a snapshot go."""

    def read_back(self) -> BinaryIO:
        """Open what was written so far for reading; the caller closes it."""
        ...


class Stored(NamedTuple):
    """A snapshot that was found and whose header is sound.

    Attributes:
        header: The header.
        file: The open snapshot; the holder closes it.
        location: Where it is, for messages.
        payload_length: Length of the payload in bytes.
        payload_digest: SHA-256 of the payload, as the footer has it.
        allow: The globals that the payload may name, or None for all.
        skipped: What is wrong with the newest snapshot, where this older one stands in for it.
    """

    header: Header
    file: BinaryIO
    location: str
    payload_length: int
    payload_digest: bytes
    allow: Allow | None
    skipped: CheckpointError | None = None

    def check(self) -> None:
        """Compare the payload with its digest.

        Raises:
            CorruptSnapshotError: It is damaged.
        """
        if _digest(self.file, self.payload_length) != self.payload_digest:
            reason = f"the payload (bytes 0 to {self.payload_length}) does not match its digest"
            raise CorruptSnapshotError(self.location, reason)

    def state(self) -> dict[str, Any]:
        """Check the payload and load it, running whatever code it names and may name.

        Returns:
            The state with the position under "checkpoint_index".

        Raises:
            CorruptSnapshotError: The payload is damaged; it was not loaded.
            IncompatibleSnapshotError: It holds code of another minor version of Python, or
                names something that cannot be imported here.
            UntrustedSnapshotError: It names a global that is not allowed.
        """
        self._check_python()
        self.check()
        try:
            state = load(self.file, self.allow)
        except (CheckpointError, MemoryError):
            raise
        except RefusedGlobalError as error:
            reason = f"it names {error}, which allow= does not list"
            raise UntrustedSnapshotError(self.location, reason) from error
        except Exception as error:
            raise self._not_loaded(error) from error
        if not isinstance(state, dict):
            kind = type(state).__name__
            raise CorruptSnapshotError(self.location, f"it holds a {kind}, not a dict")
        return cast("dict[str, Any]", state)

    def sizes(self) -> dict[str, int]:
        """Bytes of the payload by the state's keys, read off its opcodes.

        Raises:
            CorruptSnapshotError: The payload is no pickle stream.
        """
        try:
            return survey(self.file, self.payload_length).sizes
        except MalformedError as error:
            raise _damaged(self.location, error) from error

    def _check_python(self) -> None:
        written_by = self.header.python
        if self.header.code and written_by.split(".")[:2] != PYTHON_VERSION.split(".")[:2]:
            reason = (
                f"it holds functions or classes by value, written by Python {written_by}, and "
                f"this is {PYTHON_VERSION}; run it there, or keep functions and classes of "
                "__main__ out of the state"
            )
            raise IncompatibleSnapshotError(self.location, reason, written_by=written_by)

    def _not_loaded(self, error: Exception) -> IncompatibleSnapshotError:
        # Other exceptions may quote values of the state.
        what = f": {error}" if isinstance(error, (ImportError, AttributeError)) else ""
        return IncompatibleSnapshotError(
            self.location,
            f"loading it raised {type(error).__name__}{what}",
            written_by=self.header.python,
        )


class Codec(NamedTuple):
    """How the snapshots of a flow are written and read.

    Attributes:
        signer: Signs them, and verifies those that are read; None for no signatures.
        allow: The globals that they may name; None for all.
        verify: Whether each is loaded back before it counts.
    """

    signer: Signer | None = None
    allow: Allow | None = None
    verify: bool = False

    def write(
        self, header: Header, state: dict[str, Any], step: str | None, target: Target
    ) -> Header:
        """Write a whole snapshot of `state`, as it is after `step`, into `target`.

        Args:
            header: The header, with the versions of this program.
            state: The state.
            step: Name of the step that is done, or None before the first.
            target: Takes the bytes.

        Returns:
            The header as written: `header` with `code` set.

        Raises:
            UnserializableStateError: The state holds something that cannot be dumped, or, with
                `verify`, not be loaded again.
        """
        payload = PayloadWriter(target)
        try:
            code = dump(state, payload, self.allow)
        except UnserializableError as error:
            offenders = find_offenders(state, self.allow) or (("state", str(error)),)
            raise UnserializableStateError(step, offenders) from error
        length, digest = payload.finish(header.position)
        if code != header.code:
            header = replace(header, code=code)
        payload.flush_with(pack_footer(header.encode(), length, digest, self.signer))
        if self.verify:
            self._read_back(state, step, target)
        return header

    def copy(self, header: Header, stored: Stored, target: Target) -> Header:
        """Write the payload of `stored`, bytes and digest as they are, under another header."""
        stored.file.seek(0)
        left = stored.payload_length
        while piece := stored.file.read(min(left, PIECE_BYTES)):
            target.write(piece)
            left -= len(piece)
        target.write(
            pack_footer(header.encode(), stored.payload_length, stored.payload_digest, self.signer)
        )
        return header

    def open(self, file: BinaryIO, location: str) -> Stored | None:
        """Read and check what stands behind the payload, executing nothing.

        Args:
            file: The snapshot, seekable.
            location: Where it is, for messages.

        Returns:
            The snapshot, or None if the file is empty. The header of a bare pickle is made up
            from its opcodes.

        Raises:
            CorruptSnapshotError: The file is damaged or no snapshot.
            IncompatibleSnapshotError: Its format is of a later version.
            UntrustedSnapshotError: It is not signed as it must be.
        """
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return None
        footer = read_footer(file, size, location, self.signer)
        if footer is None:
            if self.signer is not None:
                raise UntrustedSnapshotError(location, "it has no footer, so it is not signed")
            header = _header_of_bare(file, size, location)
            footer = Footer(b"", size, _digest(file, size), None)
        else:
            header = _decoded(footer, location)
        return Stored(
            header, file, location, footer.payload_length, footer.payload_digest, self.allow
        )

    def _read_back(self, state: dict[str, Any], step: str | None, target: Target) -> None:
        with target.read_back() as file:
            stored = self.open(file, "the snapshot just written")
            if stored is None:
                raise CorruptSnapshotError("the snapshot just written", "it reads as empty")
            try:
                stored.state()
            except (IncompatibleSnapshotError, UntrustedSnapshotError) as error:
                offenders = find_offenders(state, self.allow, load_back=True)
                whole = (("state", f"it would not load again: {error.reason}"),)
                raise UnserializableStateError(step, offenders or whole) from error


def position_of(state: dict[str, Any]) -> int:
    """Read the position off a handler's dict; without one it is 0.

    Raises:
        InvalidTypeError: It is no index.
    """
    position = state.get(POSITION_KEY, 0)
    if not _is_position(position):
        raise InvalidTypeError(f"{POSITION_KEY} must be the index of a step, an integer from 0.")
    return cast("int", position)


def _is_position(value: object) -> bool:
    return type(value) is int and 0 <= value <= LAST_POSITION


def _digest(file: BinaryIO, length: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (piece := file.read(min(length, PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.digest()


def _decoded(footer: Footer, location: str) -> Header:
    try:
        header = Header.decode(footer.header)
    except (ValueError, RecursionError) as error:
        raise CorruptSnapshotError(location, "its header cannot be read") from error
    return header if footer.signed_by is None else replace(header, signed_by=footer.signed_by)


def _header_of_bare(file: BinaryIO, size: int, location: str) -> Header:
    """Make up the header of a file that is one pickle stream from its first byte to its last."""
    try:
        seen = survey(file, size)
    except MalformedError as error:
        raise _damaged(location, error) from error
    if seen.end != size:
        raise CorruptSnapshotError(location, f"other bytes follow its pickle, from byte {seen.end}")
    if not seen.is_dict:
        raise CorruptSnapshotError(location, "it is a pickle of something else than a state's dict")
    file.seek(max(0, size - TRAILER_BYTES))
    if is_payload(file.read()):
        raise CorruptSnapshotError(location, "it is cut off: the footer is missing")
    position = 0 if seen.position is None else seen.position
    if not _is_position(position):
        reason = f"the {POSITION_KEY} in it is no index of a step"
        raise CorruptSnapshotError(location, reason)
    return Header.of_unnamed("", None, cast("int", position))


def _damaged(location: str, error: MalformedError) -> CorruptSnapshotError:
    if error.at == 0:
        reason = "it is neither a snapshot nor a pickle"
    else:
        reason = f"it is cut off, or no snapshot: its pickle breaks off at byte {error.at}"
    return CorruptSnapshotError(location, reason)
