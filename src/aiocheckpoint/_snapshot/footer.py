r"""The footer of a snapshot, behind its payload: the header, and a trailer of fixed size.

All integers are little-endian:

    header    JSON in UTF-8, see `header_json`; at most 16 MiB
    trailer   136 bytes:
        32  SHA-256 of the payload
        32  seal: SHA-256 of the last 32 bytes of the trailer, the payload's digest, the header
        32  signature: HMAC-SHA256 of the same bytes behind a label; zeros where there is none
         8  id of the secret that the signature was made with; zeros where there is none
         8  length of the payload in bytes
         8  length of the header in bytes
         4  format version, 1
         4  zeros, reserved for flags
         8  magic, b"aiockpt\n"

The seal detects damage, and so distinguishes it from forgery. The signature detects both. Only
fields of fixed size are parsed before they are checked.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

from aiocheckpoint.errors import (
    CorruptSnapshotError,
    FlowDefinitionError,
    IncompatibleSnapshotError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from typing import BinaryIO

    from aiocheckpoint._snapshot.signing import Signer

__all__ = [
    "SIGNATURE_BYTES",
    "SIGNATURE_FROM_END",
    "TRAILER_BYTES",
    "Footer",
    "pack_footer",
    "payload_length",
    "read_footer",
]

FORMAT_VERSION = 1
MAGIC = b"aiockpt\n"
_NUMBERS = struct.Struct("<QQII8s")
_TRAILER = struct.Struct("<32s32s32s8s32s")
TRAILER_BYTES = _TRAILER.size
SIGNATURE_BYTES = 40
"""Bytes of the signature with the id of its secret. All are zeros where there is none."""
SIGNATURE_FROM_END = SIGNATURE_BYTES + _NUMBERS.size
"""Where these bytes begin, from the end of the footer."""
_LONGEST_HEADER = 1 << 24
_NO_KEY, _NO_SIGNATURE = bytes(8), bytes(32)
_LABEL = b"aiocheckpoint snapshot\0"


class Footer:
    """A footer with a valid seal and, where a signature is required, a valid signature.

    Args:
        header: The encoded header.
        payload_length: Length of the payload in bytes.
        payload_digest: SHA-256 of the payload.
        signed_by: Id of the secret that it names for its signature, as hexadecimal digits, or None.
    """

    __slots__ = ("header", "payload_digest", "payload_length", "signed_by")

    def __init__(
        self, header: bytes, payload_length: int, payload_digest: bytes, signed_by: str | None
    ) -> None:
        self.header, self.signed_by = header, signed_by
        self.payload_length, self.payload_digest = payload_length, payload_digest


def pack_footer(header: bytes, payload_length: int, digest: bytes, signer: Signer | None) -> bytes:
    """Give the bytes of a footer.

    Raises:
        FlowDefinitionError: The header would be longer than readers accept.
    """
    if len(header) > _LONGEST_HEADER:
        raise FlowDefinitionError(
            f"the header of the snapshot, with the names of steps, would have {len(header)} "
            f"bytes, and may have {_LONGEST_HEADER}. Give the steps shorter names, or split the "
            "flow."
        )
    numbers = _NUMBERS.pack(payload_length, len(header), FORMAT_VERSION, 0, MAGIC)
    sealed = b"%b%b%b" % (numbers, digest, header)
    key_id, signature = _NO_KEY, _NO_SIGNATURE
    if signer is not None:
        key_id, signature = signer.sign(_LABEL + sealed)
    seal = hashlib.sha256(sealed).digest()
    return header + _TRAILER.pack(digest, seal, signature, key_id, numbers)


def payload_length(snapshot: bytes | memoryview) -> int:
    """The length of the payload in a whole new snapshot."""
    length: int = _NUMBERS.unpack(snapshot[-_NUMBERS.size :])[0]
    return length


def read_footer(file: BinaryIO, size: int, location: str, signer: Signer | None) -> Footer | None:
    """Read and check the footer of a file.

    Args:
        file: The file, or its last part with the whole footer. Seekable.
        size: Size of the whole file in bytes.
        location: Where it is, for messages.
        signer: Verifies the signature. None where no signature is required.

    Returns:
        The footer, or None where the file has no magic at its end.

    Raises:
        CorruptSnapshotError: It is damaged.
        IncompatibleSnapshotError: The format is of another version.
        UntrustedSnapshotError: A valid signature is required and missing.
    """
    if size < TRAILER_BYTES:
        return None
    file.seek(-TRAILER_BYTES, os.SEEK_END)
    digest, seal, signature, key_id, numbers = _TRAILER.unpack(file.read(TRAILER_BYTES))
    payload_length, header_length, version, flags, magic = _NUMBERS.unpack(numbers)
    if magic != MAGIC:
        return None
    if version != FORMAT_VERSION:
        reason = f"its format is version {version}, and this library reads {FORMAT_VERSION}"
        raise IncompatibleSnapshotError(location, f"{reason}; install a later release")
    if payload_length + header_length + TRAILER_BYTES != size or header_length > _LONGEST_HEADER:
        raise CorruptSnapshotError(
            location, f"it has {size} bytes, not as many as its trailer (the last 136) says"
        )
    file.seek(-(header_length + TRAILER_BYTES), os.SEEK_END)
    header = file.read(header_length)
    sealed = b"%b%b%b" % (numbers, digest, header)
    # No writer makes a key id without a signature, or a signature without a key id.
    unsigned = signature == _NO_SIGNATURE
    whole = unsigned == (key_id == _NO_KEY) and not flags
    if not whole or seal != hashlib.sha256(sealed).digest():
        part = f"its header (bytes {payload_length} to {size - TRAILER_BYTES}) or its trailer"
        raise CorruptSnapshotError(location, f"{part} does not match the seal")
    if signer is not None:
        _check_signature(signer, key_id, signature, sealed, location)
    return Footer(header, payload_length, digest, None if unsigned else key_id.hex())


def _check_signature(
    signer: Signer, key_id: bytes, signature: bytes, sealed: bytes, location: str
) -> None:
    if signer.verifies(key_id, signature, _LABEL + sealed):
        return
    if signature == _NO_SIGNATURE:
        reason = "it is not signed"
    elif not signer.knows(key_id):
        given = ", ".join(signer.ids)
        reason = f"it is signed with the secret of id {key_id.hex()}, and given were {given}"
    else:
        reason = (
            "its signature is wrong: it was altered, or signed for a flow of another name, which "
            "by default is that of the file"
        )
    raise UntrustedSnapshotError(location, reason)
