"""The messages between a client and PostgreSQL, cut out of the bytes of a connection.

The format is in "Message Formats" of PostgreSQL's manual. TLS and GSSAPI are not read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

_LENGTH = struct.Struct("!I")
_STARTUP_HEADER = struct.Struct("!II")
_ENCRYPTION = {80877103, 80877104}
"""Codes of requests for TLS and GSSAPI, which a server without them answers with one byte."""


class Message(NamedTuple):
    """One message.

    Attributes:
        kind: Its first byte. Empty for messages before the session, which have none.
        body: The rest behind its length.
        raw: All of it.
    """

    kind: bytes
    body: bytes
    raw: bytes


@dataclass
class MessageReader:
    """Cuts the messages of one direction out of its bytes.

    Attributes:
        from_client: Whether it is the direction of the client, whose first messages have no kind.
        single_bytes: The number of answers of one byte that are still to come.
    """

    from_client: bool
    single_bytes: int = 0
    _begun: bool = False
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, chunk: bytes) -> list[Message]:
        """Take further bytes, and return the messages that are whole now."""
        self._buffer += chunk
        found = list[Message]()
        while (one := self._next()) is not None:
            found.append(one)
        return found

    def _next(self) -> Message | None:
        if not self.from_client and self.single_bytes and self._buffer:
            self.single_bytes -= 1
            return self._cut(b"", 0, 1)
        if self.from_client and not self._begun:
            return self._startup()
        if len(self._buffer) < 1 + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, 1)
        return self._cut(bytes(self._buffer[:1]), 1 + _LENGTH.size, 1 + length)

    def _startup(self) -> Message | None:
        if len(self._buffer) < _STARTUP_HEADER.size:
            return None
        length, code = _STARTUP_HEADER.unpack_from(self._buffer)
        found = self._cut(b"", _LENGTH.size, length)
        self._begun = found is not None and code not in _ENCRYPTION
        return found

    def _cut(self, kind: bytes, header: int, length: int) -> Message | None:
        if len(self._buffer) < length:
            return None
        raw = bytes(self._buffer[:length])
        del self._buffer[:length]
        return Message(kind, raw[header:], raw)


def asks_for_encryption(message: Message) -> bool:
    """Whether a message before the session asks for TLS or GSSAPI."""
    return (
        message.kind == b""
        and len(message.body) == _LENGTH.size
        and _LENGTH.unpack(message.body)[0] in _ENCRYPTION
    )


@dataclass
class StatementReader:
    """Reads the statements that a client executes, in both protocols.

    Attributes:
        transaction: The texts of the statements since the last end of a transaction.
    """

    transaction: list[bytes] = field(default_factory=list[bytes])
    _prepared: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _bound: bytes = b""

    def executes(self, message: Message) -> bool:
        """Read a message, and return whether it executes a statement."""
        if message.kind == b"Q":
            self.transaction.append(message.body.rstrip(b"\0"))
        elif message.kind == b"P":
            name, text, _ = message.body.split(b"\0", 2)
            self._prepared[name] = text
        elif message.kind == b"B":
            _, name, _ = message.body.split(b"\0", 2)
            self._bound = self._prepared.get(name, b"")
        elif message.kind == b"E":
            self.transaction.append(self._bound)
        return message.kind in (b"Q", b"E")
