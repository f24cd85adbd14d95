"""Dump to memory and load again, by the library and by plain dill; take snapshots apart."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]

from aiocheckpoint._snapshot.pickling.serializer import dump, load

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

TRAILER_LENGTH = 136


class Memory:
    """A target that keeps all bytes.

    Attributes:
        data: All bytes so far.
        pieces: The length of each piece.
        rewound: How often it was asked to start over.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.pieces = list[int]()
        self.rewound = 0

    def write(self, chunk: Buffer, /) -> None:
        """Keep the next bytes."""
        piece = memoryview(chunk).tobytes()
        self.data += piece
        self.pieces.append(len(piece))

    def rewind(self) -> None:
        """Start over."""
        self.data.clear()
        self.pieces.clear()
        self.rewound += 1


@dataclass(frozen=True)
class Dumped:
    """The result of a dump.

    Attributes:
        data: The stream.
        code: Whether the dump reports code in it.
        by_dill: Whether dill was needed.
    """

    data: bytes
    code: bool
    by_dill: bool


def dump_whole(obj: object) -> Dumped:
    """Dump with the library. dill's warnings about its limits are ignored here."""
    target = Memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dill.PicklingWarning)
        code = dump(obj, target)
    return Dumped(bytes(target.data), code, target.rewound > 0)


def load_whole(data: bytes) -> Any:  # noqa: ANN401 - any object at all
    """Load with the library."""
    return load(io.BytesIO(data))


def load_by_dill(obj: object) -> Any:  # noqa: ANN401
    """Copy an object with plain dill, the standard for the library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dill.PicklingWarning)
        return dill.loads(dill.dumps(obj))


def footer_of(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Take a snapshot apart as documented, checking all of it; return payload and header."""
    digest, seal, signature, key, numbers = struct.unpack("<32s32s32s8s32s", data[-136:])
    payload_length, header_length, version, flags, magic = struct.unpack("<QQII8s", numbers)
    assert (signature, key, version, flags, magic) == (bytes(32), bytes(8), 1, 0, b"aiockpt\n")
    assert payload_length + header_length + TRAILER_LENGTH == len(data)
    payload, header = data[:payload_length], data[payload_length:-TRAILER_LENGTH]
    assert digest == hashlib.sha256(payload).digest()
    assert seal == hashlib.sha256(numbers + digest + header).digest()
    return payload, json.loads(header)


def snapshot_of(
    payload: bytes,
    header: bytes,
    *,
    lengths: tuple[int, int] | None = None,
    version: int = 1,
    flags: int = 0,
) -> bytes:
    """Put a snapshot together as documented, with correct digests."""
    digest = hashlib.sha256(payload).digest()
    sizes = lengths or (len(payload), len(header))
    numbers = struct.pack("<QQII8s", *sizes, version, flags, b"aiockpt\n")
    seal = hashlib.sha256(numbers + digest + header).digest()
    return payload + header + struct.pack("<32s32s32s8s", digest, seal, b"", b"") + numbers
