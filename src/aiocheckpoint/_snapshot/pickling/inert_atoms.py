"""The opcodes that push one value that holds no other."""

from __future__ import annotations

import pickle
import re
from struct import Struct
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_values import Placeholder
from aiocheckpoint._snapshot.pickling.opcodes import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.inert_machine import Handler, InertMachine

__all__ = ["ATOM_HANDLERS"]

_FLOAT, _INT = Struct(">d").unpack_from, Struct("<i").unpack_from
_COUNTS = {1: Struct("<B"), 4: Struct("<I"), 8: Struct("<Q")}
_LONGEST_NUMBER = 4_300
_ESCAPE = re.compile(rb"\\(\r\n|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\n": b"",
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
}


def _push_constant(value: Any) -> Handler:  # noqa: ANN401 - a builtin value
    def handler(machine: InertMachine, _: bytes, pos: int) -> int:
        machine.stack.append(value)
        return pos + 1

    return handler


def _push_int1(machine: InertMachine, window: bytes, pos: int) -> int:
    machine.stack.append(window[pos + 1])
    return pos + 2


def _push_int2(machine: InertMachine, window: bytes, pos: int) -> int:
    machine.stack.append(window[pos + 1] | window[pos + 2] << 8)
    return pos + 3


def _push_int4(machine: InertMachine, window: bytes, pos: int) -> int:
    machine.stack += _INT(window, pos + 1)
    return pos + 5


def _push_float(machine: InertMachine, window: bytes, pos: int) -> int:
    machine.stack += _FLOAT(window, pos + 1)
    return pos + 9


def _counted(width: int, kind: str, decode: Callable[[bytes], Any], most: int = 1 << 62) -> Handler:
    """The handler of an opcode whose argument has the number of its bytes before it."""
    prefix = _COUNTS[width].unpack_from

    def handler(machine: InertMachine, window: bytes, pos: int) -> int:
        begin = pos + 1 + width
        length: int = prefix(window, pos + 1)[0]
        if length > most:
            raise ValueError
        content = machine.counted(window, begin, length, kind)
        machine.stack.append(
            content if isinstance(content, Placeholder) else machine.note_long(decode(content))
        )
        return begin + length

    return handler


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _long(content: bytes) -> int:
    return int.from_bytes(content, "little", signed=True)


def _old_text(content: bytes) -> str:
    return content.decode("ascii")


def _line(decode: Callable[[bytes], Any]) -> Handler:
    """The handler of an opcode whose argument is a line."""

    def handler(machine: InertMachine, window: bytes, pos: int) -> int:
        line = machine.line(window, pos + 1)
        value = decode(line[:-1])
        machine.stack.append(machine.note_long(value) if type(value) in (str, int) else value)
        return pos + 1 + len(line)

    return handler


def _number(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    return _decimal(line)


def _decimal(line: bytes) -> int:
    if len(line) > _LONGEST_NUMBER:  # Python refuses these too, unless told otherwise.
        raise ValueError
    return int(line.removesuffix(b"L"), 0)


def _fraction(line: bytes) -> float:
    if len(line) > _LONGEST_NUMBER:
        raise ValueError
    return float(line)


def _escaped_text(line: bytes) -> str:
    """Text in quotes, as Python 2 wrote it."""
    quoted = line.strip()
    if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):  # noqa: PLR2004 - the quotes
        raise ValueError
    return _ESCAPE.sub(_unescape, quoted[1:-1]).decode("ascii")


def _unescape(found: re.Match[bytes]) -> bytes:
    name = found[1]
    if name in _ESCAPED:
        return _ESCAPED[name]
    if name[:1] == b"x":
        return bytes([int(name[1:], 16)])
    return bytes([int(name, 8) & 255]) if name.isdigit() else found[0]


def _raw_text(line: bytes) -> str:
    # A codec by name would be imported. An atom names nothing and calls nothing.
    return str(pickle.loads(b"V" + line + b"\n."))  # noqa: S301


ATOM_HANDLERS: dict[int, Handler] = {
    CODES[name]: handler
    for name, handler in {
        "NONE": _push_constant(None),
        "NEWTRUE": _push_constant(True),  # noqa: FBT003
        "NEWFALSE": _push_constant(False),  # noqa: FBT003
        "EMPTY_TUPLE": _push_constant(()),
        "BININT1": _push_int1,
        "BININT2": _push_int2,
        "BININT": _push_int4,
        "BINFLOAT": _push_float,
        "LONG1": _counted(1, "int", _long),
        "LONG4": _counted(4, "int", _long, (1 << 31) - 1),
        "SHORT_BINUNICODE": _counted(1, "str", _text),
        "BINUNICODE": _counted(4, "str", _text),
        "BINUNICODE8": _counted(8, "str", _text),
        "SHORT_BINBYTES": _counted(1, "bytes", bytes),
        "BINBYTES": _counted(4, "bytes", bytes),
        "BINBYTES8": _counted(8, "bytes", bytes),
        "BYTEARRAY8": _counted(8, "bytearray", bytearray),
        "SHORT_BINSTRING": _counted(1, "str", _old_text),
        "BINSTRING": _counted(4, "str", _old_text, (1 << 31) - 1),
        "INT": _line(_number),
        "LONG": _line(_decimal),
        "FLOAT": _line(_fraction),
        "STRING": _line(_escaped_text),
        "UNICODE": _line(_raw_text),
    }.items()
}
