"""Summarizes the pickle stream of a state by its opcodes: its position, and the sizes of its keys.

The stack and the memo are arrays of offsets, so that a hostile stream takes at most 16 bytes of
memory for each of its bytes.
"""

from __future__ import annotations

import pickletools
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from aiocheckpoint._snapshot.pickling.opcodes import (
    ATOMS,
    CODES,
    MEMO_READS,
    MEMO_WRITES,
    MalformedError,
    atom_at,
    typecode_of,
    walk,
)

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["PickleSummary", "summarize"]

OTHER = "<other>"
_LONGEST_KEY = 1 << 10
_GLANCE = 1 << 6
_MOST_KEYS = 10_000
_OPAQUE: Final = object()
_DICTS = {CODES["EMPTY_DICT"], CODES["DICT"]}
_SETS_ITEMS = {CODES["SETITEM"], CODES["SETITEMS"]}
_MEMOIZE, _MARK, _BUILD = CODES["MEMOIZE"], CODES["MARK"], CODES["BUILD"]


class PickleSummary(NamedTuple):
    """The summary of a pickled dict.

    Attributes:
        end: Length of the stream in bytes, its STOP opcode included.
        is_dict: Whether it is a dict, or at least an object that items are set in.
        position: The value of the wanted key: an int, None where the key is missing, or some other
            object where the value is no int.
        sizes: Bytes taken by each other top-level item, by its key. A value that several items
            share counts for the first. "<other>" sums up all long keys, keys of other types, and
            any keys behind the first 10,000.
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
    machine = _Machine(file, size, key)
    end = 0
    for code, argument, at in walk(file, size):
        end = at
        try:
            machine.step(code, argument, at)
        except IndexError as error:
            raise MalformedError(at) from error
    return PickleSummary(end + 1, machine.is_dict, machine.position, machine.sizes)


def _effects() -> dict[int, tuple[bool, int, int]]:
    """Of each opcode: whether it takes all to the mark, how many below, and how many it pushes."""
    effects: dict[int, tuple[bool, int, int]] = {}
    for op in pickletools.opcodes:
        before, to_mark = op.stack_before, pickletools.markobject in op.stack_before
        if to_mark:
            before = before[: before.index(pickletools.markobject)]
        effects[ord(op.code)] = to_mark, len(before), len(op.stack_after)
    return effects


_EFFECTS = _effects()


class _Machine:
    """The unpickler's stack and memo with offsets alone.

    An entry of the stack is the offset of the opcode that pushed an atom or a memo entry. For any
    other value it is the complement of the offset at which the value begins.
    """

    def __init__(self, file: BinaryIO, size: int, key: str) -> None:
        self.is_dict = False
        self.position: object = None
        self.sizes: dict[str, int] = {}
        self._file, self._size, self._key = file, size, key
        code = typecode_of(size)
        self._stack, self._marks, self._memo = array(code), array(code), array(code)
        self._atom = -1  # Offset of the atom on top of the stack, or -1.

    def step(self, code: int, argument: int, at: int) -> None:
        if code in ATOMS:
            self._note_bottom(code)
            self._stack.append(at)
            self._atom = at
        elif code in MEMO_READS:
            self._note_bottom(code)
            self._atom = self._memo[argument] if argument < len(self._memo) else -1
            self._stack.append(~at if self._atom < 0 else at)
        elif code == _MEMOIZE or code in MEMO_WRITES:
            self._remember(len(self._memo) if code == _MEMOIZE else argument)
        elif code == _MARK:
            self._marks.append(len(self._stack))
        else:
            self._apply(code, at)
            self._atom = -1

    def _note_bottom(self, code: int) -> None:
        if not self._stack and code != _BUILD:
            self.is_dict = code in _DICTS

    def _remember(self, number: int) -> None:
        memo = self._memo
        if number >= len(memo):
            memo.extend([-1]) if number == len(memo) else memo.frombytes(
                b"\xff" * (memo.itemsize * (number + 1 - len(memo)))
            )
        memo[number] = self._atom

    def _apply(self, code: int, at: int) -> None:
        to_mark, below, after = _EFFECTS[code]
        stack = self._stack
        taken = stack[len(stack) :]
        if to_mark:
            begin = self._marks.pop()
            taken = stack[begin:]
            del stack[begin:]
        if below > len(stack):
            raise IndexError(below)
        lowest = stack[len(stack) - below :]
        del stack[len(stack) - below :]
        if code in _SETS_ITEMS:
            if not stack:
                self._note_items(taken or lowest[1:], at)
        elif after:
            self._note_bottom(code)
        begin = (lowest or taken or (at,))[0]
        stack.extend([begin if begin < 0 else ~begin] * after)

    def _note_items(self, pairs: array[int], end: int) -> None:
        """Note the items set in the only object on the stack."""
        self.is_dict = True
        if len(pairs) % 2:
            raise IndexError(end)
        for index in range(0, len(pairs), 2):
            key, value = pairs[index], pairs[index + 1]
            following = pairs[index + 2] if index + 2 < len(pairs) else end
            shown = self._shown(key)
            if shown == self._key:
                position = self._value(value)
                self.position = position if type(position) is int else _OPAQUE
            else:
                size = max(following, ~following) - max(key, ~key)
                self.sizes[shown] = self.sizes.get(shown, 0) + size

    def _shown(self, key: int) -> str:
        value = self._value(key)
        shown = str(value) if type(value) in {str, int} else OTHER
        return shown if shown in self.sizes or len(self.sizes) < _MOST_KEYS else OTHER

    def _value(self, entry: int) -> object:
        """The text or number of an entry, or another object where it is neither or is long."""
        if entry < 0:
            return _OPAQUE
        code, argument, _ = next(walk(self._file, self._size, entry, _GLANCE))
        if code in MEMO_READS:
            return self._value(self._memo[argument])
        return atom_at(self._file, entry, self._size) if argument <= _LONGEST_KEY else _OPAQUE
