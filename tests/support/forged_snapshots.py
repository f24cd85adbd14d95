"""Snapshots forged by an attacker who knows the format and no secret, and canaries for them."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint._snapshot.pickling.new_types import find_unloadable

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"canary-4f1d of thirty-two bytes."
OTHER = b"another one, of more than 32 bytes"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89"
_TRAILER = struct.Struct("<32s32s32s8s")
_NUMBERS = struct.Struct("<QQII8s")
_TRAILER_BYTES = _TRAILER.size + _NUMBERS.size


class Canary:
    """Makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def _make_known() -> None:
    """Load a canary back once, as the first one that a process stores is."""
    with TemporaryDirectory() as place:
        canary = Canary(Path(place, "mark"))
        assert find_unloadable([canary], {Canary: canary}, None, NO_MODULES) == ()


_make_known()


@dataclass(frozen=True)
class Pieces:
    """The parts of a snapshot; digest and seal follow from them.

    Attributes:
        payload: The pickle stream.
        header: The JSON.
        signature: 32 bytes.
        key: Id of the secret, 8 bytes.
        version: Of the format.
        flags: The reserved number.
    """

    payload: bytes
    header: bytes
    signature: bytes = bytes(32)
    key: bytes = bytes(8)
    version: int = 1
    flags: int = 0

    @classmethod
    def of(cls, data: bytes) -> Pieces:
        """Take a snapshot apart."""
        trailer = data[-_TRAILER_BYTES:]
        _, _, signature, key = _TRAILER.unpack_from(trailer)
        length, _, version, flags, _ = _NUMBERS.unpack_from(trailer, _TRAILER.size)
        header = data[length:-_TRAILER_BYTES]
        return cls(data[:length], header, signature, key, version, flags)

    def with_fields(self, **facts: object) -> Pieces:
        """The same payload under a header with other fields."""
        return replace(self, header=json.dumps({**json.loads(self.header), **facts}).encode())

    def unsigned(self) -> Pieces:
        """The same without a signature."""
        return replace(self, signature=bytes(32), key=bytes(8))

    def joined(self) -> bytes:
        """Put the snapshot together, with a correct digest and seal."""
        lengths = len(self.payload), len(self.header)
        numbers = _NUMBERS.pack(*lengths, self.version, self.flags, b"aiockpt\n")
        digest = hashlib.sha256(self.payload).digest()
        seal = hashlib.sha256(numbers + digest + self.header).digest()
        signed = _TRAILER.pack(digest, seal, self.signature, self.key)
        return self.payload + self.header + signed + numbers


def surviving_bits(
    path: Path, read: Callable[[], object], refusals: tuple[type[BaseException], ...]
) -> list[int]:
    """Flip each bit of a file, one at a time; return the flips that the reader accepts."""
    content = path.read_bytes()
    survived: list[int] = []
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            index, byte = bit // 8, content[bit // 8]
            os.pwrite(file.fileno(), bytes([byte ^ (1 << bit % 8)]), index)
            try:
                read()
            except refusals:
                pass
            else:
                survived.append(bit)
            os.pwrite(file.fileno(), bytes([byte]), index)
    return survived
