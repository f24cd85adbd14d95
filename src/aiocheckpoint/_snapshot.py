r"""States and headers to bytes and back. Knows no files, only streams of bytes.

A snapshot is a pickle stream, the payload, followed by a footer. Layout, all integers
little-endian:

    payload   a pickle stream, ends with its STOP opcode
    header    JSON in UTF-8, see `Header`
    trailer   136 bytes:
        32  SHA-256 of the payload
        32  seal: SHA-256 of the last 32 bytes of the trailer, the payload's digest, the header
        32  zeros, reserved for a signature
         8  zeros, reserved for the signing key's id
         8  length of the payload in bytes
         8  length of the header in bytes
         4  format version, 1
         4  zeros, reserved for flags
         8  magic, b"aiockpt\n"

Unpicklers stop at the STOP opcode and so read the payload alone: a dict, the state with the
position added under the key "checkpoint_index". A file without the magic is a bare pickle of such
a dict, as gumly writes it, or it is no snapshot.
"""

from __future__ import annotations

import hashlib
import os
import pickletools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._header import PYTHON_VERSION, Header
from aiocheckpoint._offenders import find_offenders
from aiocheckpoint._payload import (
    LAST_POSITION,
    PIECE_BYTES,
    POSITION_KEY,
    PayloadWriter,
    is_payload,
)
from aiocheckpoint._serializer import Target, UnserializableError, dump, load
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


__all__ = [
    "POSITION_KEY",
    "Stored",
    "copy_snapshot",
    "open_snapshot",
    "position_of",
    "write_snapshot",
]

FORMAT_VERSION = 1
MAGIC = b"aiockpt\n"
_NUMBERS = struct.Struct("<QQII8s")
_TRAILER = struct.Struct("<32s32s32s8s32s")
_UNSIGNED = (bytes(32), bytes(8))


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot that was found and whose header is sound.

    Attributes:
        header: The header.
        file: The open snapshot; the holder closes it.
        location: Where it is, for messages.
        payload_length: Length of the payload in bytes.
        payload_digest: SHA-256 of the payload, as the footer has it.
    """

    header: Header
    file: BinaryIO
    location: str
    payload_length: int
    payload_digest: bytes

    def state(self) -> dict[str, Any]:
        """Check the payload and load it, running whatever code it names.

        Returns:
            The state with the position under "checkpoint_index".

        Raises:
            CorruptSnapshotError: The payload is damaged; it was not loaded.
            IncompatibleSnapshotError: It holds code of another minor version of Python, or
                names something that cannot be imported here.
        """
        self._check_python()
        if _digest(self.file, self.payload_length) != self.payload_digest:
            raise CorruptSnapshotError(self.location, "the payload does not match its digest")
        self.file.seek(0)
        return _load_dict(self.file, self.location, self.header.python)

    def _check_python(self) -> None:
        written_by = self.header.python
        if self.header.code and written_by.split(".")[:2] != PYTHON_VERSION.split(".")[:2]:
            reason = (
                f"it holds functions or classes by value, written by Python {written_by}, and "
                f"this is {PYTHON_VERSION}; run it there, or keep functions and classes of "
                "__main__ out of the state"
            )
            raise IncompatibleSnapshotError(self.location, reason, written_by=written_by)


def position_of(state: dict[str, Any]) -> int:
    """Read the position off a handler's dict; without one it is 0.

    Raises:
        InvalidTypeError: It is no index.
    """
    position = state.get(POSITION_KEY, 0)
    if type(position) is not int or not 0 <= position <= LAST_POSITION:
        raise InvalidTypeError(f"{POSITION_KEY} must be the index of a step, an integer from 0.")
    return position


def write_snapshot(
    header: Header, state: dict[str, Any], step: str | None, target: Target
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
        UnserializableStateError: The state holds something that cannot be dumped.
    """
    payload = PayloadWriter(target)
    try:
        code = dump(state, payload)
    except UnserializableError as error:
        offenders = find_offenders(state) or (("state", str(error)),)
        raise UnserializableStateError(step, offenders) from error
    length, digest = payload.finish(header.position)
    if code != header.code:
        header = replace(header, code=code)
    payload.flush_with(_footer(header, length, digest))
    return header


def copy_snapshot(header: Header, stored: Stored, target: Target) -> Header:
    """Write the payload of `stored`, bytes and digest as they are, under another header."""
    stored.file.seek(0)
    left = stored.payload_length
    while piece := stored.file.read(min(left, PIECE_BYTES)):
        target.write(piece)
        left -= len(piece)
    target.write(_footer(header, stored.payload_length, stored.payload_digest))
    return header


def open_snapshot(file: BinaryIO, location: str) -> Stored | None:
    """Read and check what stands behind the payload; the payload is not touched.

    Args:
        file: The snapshot, seekable.
        location: Where it is, for messages.

    Returns:
        The snapshot, or None if the file is empty. The header of a bare pickle is made up from
        its content, which therefore is loaded.

    Raises:
        CorruptSnapshotError: The file is damaged or no snapshot.
        IncompatibleSnapshotError: Its format is of a later version.
    """
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return None
    if size < _TRAILER.size:
        return _open_bare(file, size, location)
    file.seek(size - _TRAILER.size)
    digest, seal, signature, key_id, numbers = _TRAILER.unpack(file.read(_TRAILER.size))
    payload_length, header_length, version, flags, magic = _NUMBERS.unpack(numbers)
    if magic != MAGIC:
        return _open_bare(file, size, location)
    if version != FORMAT_VERSION:
        reason = f"its format is version {version}, and this library reads {FORMAT_VERSION}"
        raise IncompatibleSnapshotError(location, f"{reason}; install a later release")
    if payload_length + header_length + _TRAILER.size != size:
        raise CorruptSnapshotError(location, f"it has {size} bytes, not as many as it says")
    file.seek(payload_length)
    encoded = file.read(header_length)
    if (signature, key_id) != _UNSIGNED or flags or seal != _seal(digest, encoded, numbers):
        raise CorruptSnapshotError(location, "the header does not match its digest")
    return Stored(_decoded(encoded, location), file, location, payload_length, digest)


def _footer(header: Header, payload_length: int, digest: bytes) -> bytes:
    encoded = header.encode()
    numbers = _NUMBERS.pack(payload_length, len(encoded), FORMAT_VERSION, 0, MAGIC)
    seal = _seal(digest, encoded, numbers)
    return encoded + _TRAILER.pack(digest, seal, *_UNSIGNED, numbers)


def _seal(digest: bytes, encoded: bytes, numbers: bytes) -> bytes:
    return hashlib.sha256(numbers + digest + encoded).digest()


def _digest(file: BinaryIO, length: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (piece := file.read(min(length, PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.digest()


def _decoded(encoded: bytes, location: str) -> Header:
    try:
        return Header.decode(encoded)
    except (ValueError, RecursionError) as error:
        raise CorruptSnapshotError(location, "its header cannot be read") from error


def _open_bare(file: BinaryIO, size: int, location: str) -> Stored:
    _check_bare(file, size, location)
    file.seek(0)
    state = _load_dict(file, location, "")
    try:
        header = Header.of_unnamed("", None, position_of(state))
    except InvalidTypeError as error:
        raise CorruptSnapshotError(location, str(error)) from error
    return Stored(header, file, location, size, _digest(file, size))


def _check_bare(file: BinaryIO, size: int, location: str) -> None:
    """See that the file is one pickle stream from its first byte to its last."""
    file.seek(0)
    try:
        end = next(_checked_ends(file, size))
    except Exception as error:  # genops raises many kinds on foreign bytes
        reason = "it is neither a snapshot nor a pickle"
        raise CorruptSnapshotError(location, reason) from error
    if end is None or end + 1 != size:
        raise CorruptSnapshotError(location, "other bytes follow its pickle")
    file.seek(max(0, size - _TRAILER.size))
    if is_payload(file.read()):
        raise CorruptSnapshotError(location, "it is cut off: the footer is missing")


def _checked_ends(file: BinaryIO, size: int) -> Iterator[int | None]:
    for code, argument, at in pickletools.genops(file):
        # The unpickler makes room for a whole frame, and for as many objects as the largest number
        # under which one is remembered: there are fewer of both than bytes.
        if ("PUT" in code.name or code.name == "FRAME") and int(argument or 0) > size:
            raise ValueError(argument)
        if code.name == "STOP":
            yield at


def _load_dict(file: BinaryIO, location: str, written_by: str) -> dict[str, Any]:
    try:
        state = load(file)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        # Other exceptions may quote values of the state.
        what = f": {error}" if isinstance(error, (ImportError, AttributeError)) else ""
        reason = f"loading it raised {type(error).__name__}{what}"
        raise IncompatibleSnapshotError(location, reason, written_by=written_by) from error
    if not isinstance(state, dict):
        raise CorruptSnapshotError(location, f"it holds a {type(state).__name__}, not a dict")
    return cast("dict[str, Any]", state)
