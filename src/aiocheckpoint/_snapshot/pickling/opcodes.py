"""Summarizes a pickle stream by its opcodes, without making any of its objects.

Long strings are skipped, so that the memory needed does not grow with the values. The opcodes, with
their arguments and their effects on the stack, are from `pickletools` of the standard library.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["MalformedError", "PickleSummary", "names_extension", "summarize"]

_OPCODES = {op.code.encode("latin-1"): op for op in pickletools.opcodes}
# The prefix of a counted argument: the bytes of its length, and whether that is signed.
_COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
_SHORT = 1 << 10
_LONGEST_LINE = 1 << 26
_LINE_PIECE = 1 << 16
_MARK: Final = object()
_OPAQUE: Final = object()


class MalformedError(Exception):
    """The bytes are no whole pickle stream.

    Attributes:
        at: Offset of the opcode that is wrong or cut off.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class PickleSummary(NamedTuple):
    """The summary of a pickled dict.

    Attributes:
        end: Length of the stream in bytes, its STOP opcode included.
        is_dict: Whether it is a dict, or at least an object that items are set in.
        position: The value of the wanted key: an int, None where the key is missing, or some other
            object where the value is no int.
        sizes: Bytes taken by each other top-level item, by its key. A value that several items
            share counts for the first.
    """

    end: int
    is_dict: bool
    position: object
    sizes: dict[str, int]


def summarize(file: BinaryIO, size: int, key: str) -> PickleSummary:
    """Summarize the pickle stream at the beginning of a file.

    Args:
        file: The file, seekable.
        size: Its size in bytes.
        key: The key of the dict whose value is wanted.

    Raises:
        MalformedError: There is no whole stream.
    """
    machine = _Machine(key)
    end = 0
    for op, argument, at in _walk(file, size):
        end = at
        try:
            machine.step(op, argument, at)
        except (IndexError, TypeError, ValueError) as error:
            raise MalformedError(at) from error
    return PickleSummary(end + 1, machine.is_dict, machine.position, machine.sizes)


def names_extension(file: BinaryIO, size: int) -> bool:
    """Whether a stream names a class by a number of `copyreg.add_extension`.

    Raises:
        MalformedError: There is no whole stream.
    """
    return any(op.name.startswith("EXT") for op, _, _ in _walk(file, size))


def _walk(file: BinaryIO, size: int) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """Yield each opcode with its argument, None for a long one, and its offset."""
    file.seek(0)
    name = ""
    while name != "STOP":
        at = file.tell()
        op = _OPCODES.get(file.read(1))
        if op is None:
            raise MalformedError(at)
        try:
            argument = _argument(op, file, size)
        except (ValueError, OverflowError) as error:
            raise MalformedError(at) from error
        if op.name == "PROTO" and argument > pickle.HIGHEST_PROTOCOL:
            raise MalformedError(at)
        # The unpickler allocates a whole frame, and as many memo entries as the largest number of
        # one. A sound stream has fewer of both than bytes.
        counts = "PUT" in op.name or op.name == "FRAME"
        if counts and (argument is None or not 0 <= argument <= size):
            raise MalformedError(at)
        yield op, argument, at
        name = op.name


def _argument(op: pickletools.OpcodeInfo, file: BinaryIO, size: int) -> Any:  # noqa: ANN401
    if op.arg is None:
        return None
    if op.arg.n == pickletools.UP_TO_NEWLINE:
        if "pair" in op.arg.name:  # of a global; pickletools takes no names but ASCII ones
            return " ".join((_line(file) or b"").decode() for _ in range(2))
        line = _line(file)
        return None if line is None else op.arg.reader(io.BytesIO(line))
    if op.arg.n not in _COUNTS:
        return op.arg.reader(file)
    width, signed = _COUNTS[op.arg.n]
    prefix = file.read(width)
    count = int.from_bytes(prefix, "little", signed=signed)
    if not 0 <= count <= size - file.tell():
        raise ValueError(count)
    if count > _SHORT:
        file.seek(count, io.SEEK_CUR)
        return None
    return op.arg.reader(io.BytesIO(prefix + file.read(count)))


def _line(file: BinaryIO) -> bytes | None:
    """Read a line. Give None for a long one."""
    line = piece = file.readline(_LINE_PIECE)
    length = len(piece)
    while not piece.endswith(b"\n"):
        piece = file.readline(_LINE_PIECE)
        length += len(piece)
        if not piece or length > _LONGEST_LINE:
            raise ValueError(length)
    return line if length == len(line) else None


class _Machine:
    """The unpickler's stack and memo, with texts and numbers alone and the offset of each."""

    def __init__(self, key: str) -> None:
        self.is_dict = False
        self.position: object = None
        self.sizes: dict[str, int] = {}
        self._stack: list[tuple[object, int]] = []
        self._memo: dict[int, object] = {}
        self._memoized = 0
        self._key = key

    def step(self, op: pickletools.OpcodeInfo, argument: Any, at: int) -> None:  # noqa: ANN401
        if "PUT" in op.name or op.name == "MEMOIZE":
            self._remember(argument)
        elif op.name.endswith("GET"):
            self._stack.append((self._memo.get(argument, _OPAQUE), at))
        elif op.name == "MARK":
            self._stack.append((_MARK, at))
        else:
            self._apply(op, argument, at)

    def _remember(self, number: int | None) -> None:
        value = self._stack[-1][0]
        if isinstance(value, str):
            self._memo[self._memoized if number is None else number] = value
        self._memoized += 1

    def _apply(self, op: pickletools.OpcodeInfo, argument: object, at: int) -> None:
        before = op.stack_before
        taken: list[tuple[object, int]] = []
        if pickletools.markobject in before:
            taken = self._taken_to_mark()
            before = before[: before.index(pickletools.markobject)]
        lowest = [self._stack.pop() for _ in before]
        if op.name in {"SETITEMS", "SETITEM"}:
            pairs = taken if op.name == "SETITEMS" else lowest[1::-1]
            if pairs and not self._stack:  # picklers end each 1,000 items with an empty batch
                self._note_items(pairs, at)
        elif op.stack_after and not self._stack and op.name != "BUILD":
            self.is_dict = op.name in {"EMPTY_DICT", "DICT"}
        start = (lowest or taken or [(None, at)])[-1 if lowest else 0][1]
        kept = argument if type(argument) in {str, int} else _OPAQUE
        self._stack.extend((kept, start) for _ in op.stack_after)

    def _taken_to_mark(self) -> list[tuple[object, int]]:
        taken: list[tuple[object, int]] = []
        while (entry := self._stack.pop())[0] is not _MARK:
            taken.append(entry)
        return taken[::-1]

    def _note_items(self, pairs: list[tuple[object, int]], end: int) -> None:
        """Note the items set in the only object on the stack."""
        self.is_dict = True
        starts = [start for _, start in pairs[2::2]] + [end]
        for (key, start), (value, _), following in zip(
            pairs[::2], pairs[1::2], starts, strict=True
        ):
            if key == self._key:
                self.position = value
            else:
                shown = str(key) if isinstance(key, (str, int)) else "<other>"
                self.sizes[shown] = self.sizes.get(shown, 0) + following - start
