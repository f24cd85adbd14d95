"""A stack machine that reads a pickle stream and makes plain data and placeholders alone.

It imports, opens, looks up and calls nothing that the stream names. Its loops have no recursion, so
the depth of a stream does not matter. The stream is read in windows of fixed size. A length prefix
is compared with the size of the stream before anything is read.
"""

from __future__ import annotations

import hashlib
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._snapshot.pickling.inert_values import BeyondBoundError, Placeholder
from aiocheckpoint._snapshot.pickling.opcodes import CODES, MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, TypeAlias

    from aiocheckpoint._snapshot.pickling.inert_values import InertBounds

    Handler: TypeAlias = Callable[["InertMachine", bytes, int], int]

__all__ = ["InertMachine"]

_LONG: Final = 1 << 10
"""Texts and bytes of more bytes are noted, as they are digested in another way."""
_LONG_NUMBER: Final = 255
"""So are integers of more bytes. The limit on digits of Python may be 640, which are 265 bytes."""

_WINDOW, _MARGIN, _PIECE = 1 << 16, 1 << 9, 1 << 20
_BROKEN = (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error)
_MEMOIZE, _BINGET, _MARK = CODES["MEMOIZE"], CODES["BINGET"], CODES["MARK"]
_TEXT, _BYTE = CODES["SHORT_BINUNICODE"], CODES["BININT1"]
_SETITEM, _SETITEMS = CODES["SETITEM"], CODES["SETITEMS"]
ROOT_AND_ITEM: Final = 3
"""Values on the stack when an item is set in the root: the root, a key and a value."""


class InertMachine:
    """The unpickler's stack and memo, with inert values.

    Args:
        file: The file, seekable.
        size: Its size in bytes.
        bounds: The bounds.
        table: The handler of each opcode. It takes the machine, the window and the place of the
            opcode in it, and gives the place behind the opcode.

    Attributes:
        stack: The stack.
        marks: Heights of the stack at which there are marks.
        memo: The memo.
        protocol: The protocol that the stream says it has.
        base: Offset of the window in the file.
        done: Whether the end of the stream was read.
        made: Values that containers hold.
        spans: Bytes of the stream by key of the object at the bottom of the stack.
        long: Long texts, bytes and integers by their ids.
    """

    def __init__(
        self, file: BinaryIO, size: int, bounds: InertBounds, table: list[Handler]
    ) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0
        self.base = 0
        self.size = size
        self.done = False
        self.made = 0
        self.bounds = bounds
        self.deadline = time.monotonic() + bounds.seconds
        self.spans: list[tuple[Any, int]] = []
        self.long: dict[int, object] = {}
        self._file, self._table = file, table
        self._window, self._pos, self._limit = b"", 0, 0
        self._starts: list[int] = []
        self._last = self._skipped = 0

    def run(self) -> None:
        """Read the stream up to its end, and leave its object on the stack.

        Raises:
            MalformedError: There is no whole stream.
            BeyondBoundError: A bound was reached.
        """
        while not self.done:
            if self._pos >= self._limit:
                self._refill()
            if len(self.marks) > 1:
                self._read_nested()
            else:
                self._read_outer()

    @property
    def at(self) -> int:
        """Offset of the next opcode."""
        return self.base + self._pos

    def _refill(self) -> None:
        """Read the window at the next opcode, and check the bounds."""
        at = self.at
        if at >= self.size:
            raise MalformedError(self.size)
        self.check(len(self.stack) + len(self.memo))
        if at - self._skipped > self.bounds.memory:
            raise BeyondBoundError
        self._file.seek(at)
        self._window = self._file.read(min(_WINDOW, self.size - at))
        self.base, self._pos = at, 0
        is_last = at + len(self._window) >= self.size
        self._limit = len(self._window) - (0 if is_last else _MARGIN)
        if self._limit <= 0:
            raise MalformedError(at)

    def check(self, more: int = 0) -> None:
        """Raise BeyondBoundError where a bound was reached."""
        if self.made + more > self.bounds.items or time.monotonic() > self.deadline:
            raise BeyondBoundError

    def _read_outer(self) -> None:
        """Read opcodes outside of nested marks, and note where the values on the stack begin."""
        window, pos, limit, table, marks = (
            *(self._window, self._pos, self._limit),
            *(self._table, self.marks),
        )
        try:
            while pos < limit and len(marks) <= 1 and not self.done:
                code = window[pos]
                self._note_start(self.base + pos)
                if code in (_SETITEM, _SETITEMS):
                    self._note_spans(code, self.base + pos)
                pos = table[code](self, window, pos)
        except _BROKEN as error:
            raise MalformedError(self.base + pos) from error
        self._pos = pos

    def _read_nested(self) -> None:
        """Read opcodes inside of nested marks. The most frequent ones have no call."""
        window, pos, limit, table = self._window, self._pos, self._limit, self._table
        stack, marks, memo = self.stack, self.marks, self.memo
        push, mark = stack.append, marks.append
        try:
            while pos < limit:
                code = window[pos]
                if code == _MEMOIZE:
                    memo[len(memo)] = stack[-1]
                    pos += 1
                elif code == _BINGET:
                    push(memo[window[pos + 1]])
                    pos += 2
                elif code == _TEXT:
                    begin = pos + 2
                    pos = begin + window[pos + 1]
                    push(window[begin:pos].decode("utf-8", "surrogatepass"))
                elif code == _BYTE:
                    push(window[pos + 1])
                    pos += 2
                elif code == _MARK:
                    mark(len(stack))
                    pos += 1
                else:
                    pos = table[code](self, window, pos)
                    if len(marks) <= 1:
                        break
        except _BROKEN as error:
            raise MalformedError(self.base + pos) from error
        self._pos = pos

    # --- where the items of the state are in the stream

    def _note_start(self, at: int) -> None:
        """Note where the newest value on the stack began: at the opcode before this one."""
        starts, height = self._starts, len(self.stack)
        if height > len(starts):
            starts.extend([self._last] * (height - len(starts)))
        else:
            del starts[height:]
        self._last = at

    def _note_spans(self, code: int, end: int) -> None:
        """Note the bytes of each item that is set in the object at the bottom of the stack."""
        is_root = self.marks == [1] if code == _SETITEMS else len(self.stack) == ROOT_AND_ITEM
        if is_root:
            self.note_spans(len(self.stack), end)

    def note_spans(self, height: int, end: int) -> None:
        """Note the bytes of the items above the bottom of the stack, up to a height."""
        starts = [*self._starts[1:height], end]
        for index in range(0, len(starts) - 2, 2):
            span = starts[index + 2] - starts[index]
            self.spans.append((self.stack[1 + index], span))

    # --- for handlers

    def take(self, count: int) -> list[Any]:
        """Pop so many values, none from below the last mark."""
        begin = len(self.stack) - count
        if begin < (self.marks[-1] if self.marks else 0):
            raise IndexError
        taken = self.stack[begin:]
        del self.stack[begin:]
        return taken

    def take_to_mark(self) -> list[Any]:
        """Pop the values above the last mark, and the mark."""
        begin = self.marks.pop()
        taken = self.stack[begin:]
        del self.stack[begin:]
        self.made += len(taken)
        return taken

    def top(self) -> Any:  # noqa: ANN401 - an inert value
        """The value on top of the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError
        return self.stack[-1]

    def note_long(self, value: Any) -> Any:  # noqa: ANN401
        """Note a text, bytes or integer if it is long, and give it."""
        is_number = type(value) is int
        length = value.bit_length() >> 3 if is_number else len(value)
        if length > (_LONG_NUMBER if is_number else _LONG):
            self.long[id(value)] = value
        return value

    def counted(self, window: bytes, begin: int, length: int, kind: str) -> bytes | Placeholder:
        """The bytes of a counted argument, or a placeholder where there are too many.

        Args:
            window: The window.
            begin: The place of the bytes in it, or behind its end.
            length: Their number.
            kind: Name of the type of the value that they are.
        """
        if begin + length <= len(window):
            return window[begin : begin + length]
        if length < 0 or self.base + begin + length > self.size:
            raise IndexError
        self._file.seek(self.base + begin)
        if length <= self.bounds.text:
            content = self._file.read(length)
            if len(content) != length:
                raise IndexError
            return content
        self._skipped += length
        return Placeholder("large", kind, size=length, digest=self._hashed(length))

    def _hashed(self, left: int) -> str:
        digest = hashlib.sha256()
        while left:
            self.check()
            piece = self._file.read(min(left, _PIECE))
            if not piece:
                raise IndexError
            digest.update(piece)
            left -= len(piece)
        return digest.hexdigest()

    def line(self, window: bytes, begin: int) -> bytes:
        """The bytes up to the next line feed, that one included."""
        end = window.find(b"\n", begin)
        if end >= 0:
            return window[begin : end + 1]
        self._file.seek(self.base + begin)
        line = self._file.readline(self.bounds.text)
        if line.endswith(b"\n"):
            return line
        if len(line) == self.bounds.text:
            raise BeyondBoundError
        raise IndexError
