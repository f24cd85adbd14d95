"""Walks over a pickle stream by its opcodes, without making any of its objects.

The file is read in windows, and long arguments are skipped. So neither the memory nor the time
grows with the values. The opcodes and the forms of their arguments are from `pickletools` of the
standard library.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = [
    "ATOMS",
    "CODES",
    "LINES",
    "MEMO_READS",
    "MEMO_WRITES",
    "MalformedError",
    "atom_at",
    "names_at",
    "typecode_of",
    "walk",
]

CODES: Final[dict[str, int]] = {op.name: ord(op.code) for op in pickletools.opcodes}
"""The byte of each opcode by its name."""

_LINE, _LINES = -1, -2
# The prefix of a counted argument: the bytes of its length, and whether that is signed.
_COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
_WIDEST = 9
_LONGEST_LINE = 1 << 26
_WINDOW, _GLANCE = 1 << 14, 1 << 6


def _of(*names: str) -> frozenset[int]:
    return frozenset(CODES[name] for name in names)


ATOMS = _of(
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"),
    *("BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE"),
)
"""Opcodes that push one value that holds no other."""
LINES = _of("GLOBAL", "INST")
"""Opcodes whose argument is the name of a global, in two lines."""
MEMO_READS = _of("GET", "BINGET", "LONG_BINGET")
MEMO_WRITES = _of("PUT", "BINPUT", "LONG_BINPUT")
_NUMBERS = MEMO_READS | MEMO_WRITES | _of("FRAME", "PROTO")
_LIMITED = MEMO_WRITES | _of("FRAME")


def _table() -> tuple[list[int | None], list[tuple[int, bool] | None]]:
    """The width of each opcode's argument, or its kind below 0, and the counted arguments."""
    widths: list[int | None] = [None] * 256
    counts: list[tuple[int, bool] | None] = [None] * 256
    for op in pickletools.opcodes:
        code, size = ord(op.code), 0 if op.arg is None else op.arg.n
        if size == pickletools.UP_TO_NEWLINE:
            size = _LINES if code in LINES else _LINE
        elif size < 0:
            counts[code] = _COUNTS[size]
            size = 0
        widths[code] = size
    return widths, counts


_WIDTHS, _COUNTED = _table()
_LENGTHS = [
    0 if width is None or width < 0 or _COUNTED[code] or code in _NUMBERS else 1 + width
    for code, width in enumerate(_WIDTHS)
]
"""The length of each opcode with its argument, 0 where the argument itself matters."""


class MalformedError(Exception):
    """The bytes are no whole pickle stream.

    Attributes:
        at: Offset of the opcode that is wrong or cut off.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def typecode_of(size: int) -> str:
    """The type code of arrays of offsets in a file of that size, or of their complements."""
    return "i" if size < 1 << 31 else "q"


def walk(
    file: BinaryIO, size: int, at: int = 0, glance: int = _WINDOW
) -> Iterator[tuple[int, int, int]]:
    """Yield the opcodes of the stream at the beginning of a file, up to its STOP.

    Args:
        file: The file, seekable. It may be read at other places between two opcodes.
        size: Its size in bytes.
        at: The offset of the first opcode.
        glance: How many bytes are read at once.

    Yields:
        The opcode's byte, its argument, and its offset. The argument is the number of a memo entry,
        or the length in bytes of a text, of bytes or of a long integer. 0 where there is neither.

    Raises:
        MalformedError: There is no whole stream.
    """
    base, window = at, _read_at(file, at, min(glance, size - at))
    last = len(window) - _WIDEST  # the last place from which any opcode is whole
    while True:
        begin = at - base
        if begin > last and base + len(window) < size:
            window, base, begin = _read_at(file, at, min(glance, size - at)), at, 0
            last = len(window) - _WIDEST
        code = window[begin] if begin < len(window) else 0
        argument, following = 0, at + _LENGTHS[code]
        if following == at:
            argument, following = _with_argument(window, begin, code, at)
            if following == at:
                argument, following = _line_at(file, at, size, code)
            if code in _NUMBERS and not _is_sound(code, argument, at, size):
                raise MalformedError(at)
        if following > size:
            raise MalformedError(at)
        yield code, argument, at
        if code == _STOP:
            return
        at = following


def _with_argument(window: bytes, begin: int, code: int, at: int) -> tuple[int, int]:
    """The argument of an opcode, and the offset behind it. The opcode's own for lines."""
    width, counted = _WIDTHS[code], _COUNTED[code]
    if width is None:
        raise MalformedError(at)
    if counted is None:
        argument = int.from_bytes(window[begin + 1 : begin + 1 + width], "little")
        return argument, at + 1 + width if width > 0 else at
    length, signed = counted
    argument = int.from_bytes(window[begin + 1 : begin + 1 + length], "little", signed=signed)
    if argument < 0:
        raise MalformedError(at)
    return argument, at + 1 + length + argument


_STOP, _PROTO = CODES["STOP"], CODES["PROTO"]


def _is_sound(code: int, argument: int, at: int, size: int) -> bool:
    """Whether a number is one that a pickler writes.

    The unpickler allocates a whole frame, and as many memo entries as the largest number of one. A
    stream has fewer entries than opcodes so far, and no frame longer than itself.
    """
    if code == _PROTO:
        return argument <= pickle.HIGHEST_PROTOCOL
    if code in MEMO_WRITES:
        return 0 <= argument <= at
    return code in MEMO_READS or argument <= size


def _line_at(file: BinaryIO, at: int, size: int, code: int) -> tuple[int, int]:
    """The argument of an opcode with lines, a memo's number or a length, and the end of them."""
    file.seek(at + 1)
    length, piece = 0, b""
    for _ in range(2 if code in LINES else 1):
        piece = b""
        while not piece.endswith(b"\n"):
            piece = file.readline(_WINDOW)
            length += len(piece)
            if not piece or length > _LONGEST_LINE or at + 1 + length > size:
                raise MalformedError(at)
    if code not in _NUMBERS:
        return length, at + 1 + length
    try:
        return int(piece), at + 1 + length
    except ValueError:
        raise MalformedError(at) from None


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(max(0, length))


def names_at(file: BinaryIO, at: int) -> tuple[str, str]:
    """Give module and name of the opcode of `LINES` at an offset.

    Raises:
        MalformedError: They are no UTF-8.
    """
    file.seek(at + 1)
    try:
        module, name = (file.readline().decode().removesuffix("\n") for _ in range(2))
    except UnicodeDecodeError as error:
        raise MalformedError(at) from error
    return module, name


def atom_at(file: BinaryIO, at: int, size: int) -> Any:  # noqa: ANN401 - any builtin value
    """Give the value of the opcode of `ATOMS` at an offset of a stream that was walked over.

    Raises:
        MalformedError: Its value is invalid.
    """
    begins = walk(file, size, at, _GLANCE)
    code, _, _ = next(begins)
    _, _, following = next(begins)
    file.seek(at)
    opcode = file.read(following - at)
    if code not in ATOMS:
        raise MalformedError(at)
    try:
        # An atom names nothing and calls nothing.
        return pickle.loads(opcode + b".")  # noqa: S301
    except Exception as error:
        raise MalformedError(at) from error
