"""Vets a pickle stream before it is loaded under `allow=`, by its opcodes alone.

The stream is refused if it names a global that is not listed, if it changes a listed object, or if
loading it takes more depth or time than its length allows.
"""

# ruff: noqa: ARG002 - every action takes an opcode, its argument and its offset

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from aiocheckpoint._snapshot.pickling.listed import (
    CALLED_ONLY,
    RefusedChangeError,
    RefusedGlobalError,
)
from aiocheckpoint._snapshot.pickling.objects import NOTHING, BeyondBoundsError, Kind, Objects
from aiocheckpoint._snapshot.pickling.opcodes import (
    ATOMS,
    CODES,
    MEMO_READS,
    MEMO_WRITES,
    MalformedError,
    atom_at,
    names_at,
    typecode_of,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from aiocheckpoint._snapshot.pickling.listed import Allow

__all__ = ["Maker", "vet"]

_LONGEST_NUMBER = 5000
"""Digits of a decimal number. Reading one takes quadratic time, and Python reads 4300."""
_SLOT_STATE = 2
_DUNDERS: Final = (b"__class__", b"__dict__")
_PIECE = 1 << 20


class Maker(NamedTuple):
    """The way in which an object was made that the stream changes afterwards.

    Attributes:
        name: The listed name of the class or function. None where it is unknown, or where the
            change itself is unusual.
        called: Whether it was called. Otherwise only its `__new__` was.
        slots: Whether its attributes are set, and not only the items of its `__dict__`.
    """

    name: str | None
    called: bool
    slots: bool = False


def vet(file: BinaryIO, size: int, allow: Allow) -> set[Maker]:
    """Check the pickle stream at the beginning of a file.

    Args:
        file: The file, seekable.
        size: Its size in bytes.
        allow: The globals that it may name.

    Returns:
        How the objects were made that are changed after they were made, other than the containers
        of the stream itself.

    Raises:
        RefusedGlobalError: It names a global that is not listed.
        RefusedChangeError: It changes a listed object.
        BeyondBoundsError: It is nested too deeply, or takes too long.
        MalformedError: It is no whole stream, or no unpickler loads it.
    """
    machine, at = _Machine(file, size, allow), 0
    actions, small, push = machine.actions(), _SMALL, machine.stack.append
    try:
        for code, argument, at in walk(file, size):
            if argument <= small[code]:
                push(at)
            else:
                actions[code](code, argument, at)
    except (IndexError, OverflowError) as error:
        raise MalformedError(at) from error
    return machine.makers_of_changed()


_ESCAPED = frozenset(CODES[name] for name in ("STRING", "UNICODE"))


def _small() -> list[int]:
    """By opcode, the longest argument of a small atom. -1 for opcodes that are no atoms."""
    longest = [255 if code in ATOMS - _ESCAPED else -1 for code in range(256)]
    for name, length in (("LONG1", 7), ("LONG4", 7), ("INT", 18), ("LONG", 18)):
        longest[CODES[name]] = length
    return longest


_SMALL = _small()
_SETITEM, _APPEND, _ADDITEMS = CODES["SETITEM"], CODES["APPEND"], CODES["ADDITEMS"]
_EMPTY_DICT, _TUPLE1, _GLOBAL = CODES["EMPTY_DICT"], CODES["TUPLE1"], CODES["GLOBAL"]
_INTEGERS = frozenset(CODES[name] for name in ("INT", "LONG", "LONG1", "LONG4"))
_LINES = frozenset(CODES[name] for name in ("INT", "LONG"))


class _Machine:
    """The unpickler's stack and memo, as codes of `Objects`."""

    def __init__(self, file: BinaryIO, size: int, allow: Allow) -> None:
        self._file, self._size, self._allow = file, size, allow
        code = typecode_of(size)
        self.stack, self._marks, self._memo = array(code), array(code), array(code)
        self._objects = Objects(file, size)
        self._makers: list[Maker] = [Maker(None, called=True)]
        self._numbers = {self._makers[0]: 0}
        self._changed: set[int] = set()
        self._slotted: set[int] = set()
        self._has_escapes = False

    def actions(self) -> list[Callable[[int, int, int], None]]:
        """The methods to call, by opcode."""
        named = {
            self._ignore: ("PROTO", "FRAME"),
            self._end: ("STOP",),
            self._mark: ("MARK",),
            self._pop: ("POP",),
            self._pop_mark: ("POP_MARK",),
            self._dup: ("DUP",),
            self._memoize: ("MEMOIZE",),
            self._container: ("EMPTY_LIST", "EMPTY_SET", "EMPTY_DICT"),
            self._filled: ("LIST", "DICT", "FROZENSET", "TUPLE"),
            self._tuple: ("TUPLE1", "TUPLE2", "TUPLE3"),
            self._append: ("APPEND", "APPENDS", "ADDITEMS"),
            self._set_items: ("SETITEM", "SETITEMS"),
            self._global: ("GLOBAL", "STACK_GLOBAL"),
            self._call: ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"),
            self._build: ("BUILD",),
            self._refuse_number: ("EXT1", "EXT2", "EXT4"),
        }
        actions = {CODES[name]: action for action, names in named.items() for name in names}
        actions |= dict.fromkeys(ATOMS, self._large_atom)
        actions |= dict.fromkeys(MEMO_READS, self._get) | dict.fromkeys(MEMO_WRITES, self._put)
        return [actions.get(code, self._refuse) for code in range(256)]

    # --- the stack

    def _take(self, count: int) -> array[int]:
        """Pop so many values, none from below the last mark."""
        stack = self.stack
        begin = len(stack) - count
        if begin < (self._marks[-1] if self._marks else 0):
            raise IndexError(begin)
        taken = stack[begin:]
        del stack[begin:]
        return taken

    def _take_to_mark(self) -> array[int]:
        begin = self._marks.pop()
        taken = self.stack[begin:]
        del self.stack[begin:]
        return taken

    def _top(self) -> int:
        if len(self.stack) <= (self._marks[-1] if self._marks else 0):
            raise IndexError
        return self.stack[-1]

    def _ignore(self, code: int, argument: int, at: int) -> None:
        """The opcode changes nothing."""

    def _refuse(self, code: int, argument: int, at: int) -> None:
        raise MalformedError(at)  # Persistent ids and buffers, which no snapshot has.

    def _refuse_number(self, code: int, argument: int, at: int) -> None:
        # copyreg caches the classes of numbers, and a cached one is loaded without find_class.
        raise RefusedGlobalError("a number of copyreg.add_extension")

    def _end(self, code: int, argument: int, at: int) -> None:
        self._check_uses(self._take(1))

    def _mark(self, code: int, argument: int, at: int) -> None:
        self._marks.append(len(self.stack))

    def _pop(self, code: int, argument: int, at: int) -> None:
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self._take(1)

    def _pop_mark(self, code: int, argument: int, at: int) -> None:
        self._take_to_mark()

    def _dup(self, code: int, argument: int, at: int) -> None:
        self.stack.append(self._top())

    def _memoize(self, code: int, argument: int, at: int) -> None:
        self._memo.append(self._top())

    def _put(self, code: int, argument: int, at: int) -> None:
        memo, missing = self._memo, argument + 1 - len(self._memo)
        if missing > 0:
            memo.frombytes(b"\xff" * (missing * memo.itemsize))  # all of them NOTHING
        memo[argument] = self._top()

    def _get(self, code: int, argument: int, at: int) -> None:
        found = self._memo[argument]
        if found == NOTHING:
            raise IndexError(argument)
        self.stack.append(found)

    # --- values

    def _large_atom(self, code: int, argument: int, at: int) -> None:
        if code in _LINES and argument > _LONGEST_NUMBER:
            raise BeyondBoundsError("it holds a decimal number of more than 5,000 digits")
        self._has_escapes |= code in _ESCAPED
        kind, unit = (Kind.NUMBER, 32) if code in _INTEGERS else (Kind.TEXT, 256)
        self.stack.append(self._objects.add(kind, at, 0, 1 + argument // unit))

    def _container(self, code: int, argument: int, at: int) -> None:
        kind = Kind.DICT if code == _EMPTY_DICT else Kind.FRESH
        self.stack.append(self._objects.add(kind, 0, 1, 1))

    def _tuple(self, code: int, argument: int, at: int) -> None:
        taken = self._take(code - _TUPLE1 + 1)
        self._check_uses(taken)
        self.stack.append(self._objects.add_group(Kind.TUPLE, taken))

    def _filled(self, code: int, argument: int, at: int) -> None:
        taken = self._take_to_mark()
        self._check_uses(taken)
        if code == CODES["TUPLE"]:
            self.stack.append(self._objects.add_group(Kind.TUPLE, taken))
        elif code == CODES["FROZENSET"]:
            self.stack.append(self._objects.add_group(Kind.FROZENSET, taken))
            self._objects.note_keys(~self.stack[-1], taken)
        else:
            kind = Kind.DICT if code == CODES["DICT"] else Kind.FRESH
            self.stack.append(self._objects.add(kind, 0, 1, 1))
            self._put_in(self.stack[-1], taken, keys=kind == Kind.DICT)

    def _append(self, code: int, argument: int, at: int) -> None:
        taken = self._take(1) if code == _APPEND else self._take_to_mark()
        target = self._top()
        self._note_change(target)
        self._put_in(target, taken, keys=False)
        if code == _ADDITEMS:
            self._objects.note_keys(~target, taken)

    def _set_items(self, code: int, argument: int, at: int) -> None:
        taken = self._take(2) if code == _SETITEM else self._take_to_mark()
        target = self._top()
        self._note_change(target)
        self._put_in(target, taken, keys=True)

    def _put_in(self, target: int, taken: array[int], *, keys: bool) -> None:
        number, objects = ~target, self._objects
        if not taken or min(taken) >= 0:
            objects.put_atoms_into(number, len(taken))
            return
        self._check_uses(taken)
        objects.put_into(number, taken)
        if keys:
            objects.note_keys(number, taken[::2])
            if objects.kinds[number] == Kind.DICT and taken and min(taken[::2]) < 0:
                objects.kinds[number] = Kind.OTHER_DICT

    # --- globals, calls and changes

    def _global(self, code: int, argument: int, at: int) -> None:
        if code == _GLOBAL:
            self._push_global(*names_at(self._file, at))
        else:
            names = self._take(2)
            # A name that was made by a call is checked by the unpickler.
            known = [atom_at(self._file, one, self._size) for one in names if one >= 0]
            self._push_global(*(known if len(known) == len(names) else (None, None)))

    def _push_global(self, module: object, name: object) -> None:
        full = f"{module}:{name}" if isinstance(module, str) and isinstance(name, str) else None
        if full is not None and full not in self._allow and full not in CALLED_ONLY:
            raise RefusedGlobalError(full)
        ref = self._number_of(Maker(full, called=True))
        self.stack.append(self._objects.add(Kind.GLOBAL, ref, 0, 1))

    def _number_of(self, maker: Maker) -> int:
        number = self._numbers.setdefault(maker, len(self._makers))
        if number == len(self._makers):
            self._makers.append(maker)
        return number

    def _check_uses(self, codes: array[int]) -> None:
        """Check that a function that is not listed is called, and nothing else."""
        if codes and min(codes) < 0:
            for code in codes:
                if code < 0 and self._objects.kinds[~code] == Kind.GLOBAL:
                    name = self._makers[self._objects.refs[~code]].name
                    if name in CALLED_ONLY and name not in self._allow:
                        raise RefusedGlobalError(name)

    def _call(self, code: int, argument: int, at: int) -> None:
        if code == CODES["INST"]:
            given = self._take_to_mark()
            self._push_global(*names_at(self._file, at))
            maker = self._take(1)[0]
        else:
            taken = self._take_to_mark() if code == CODES["OBJ"] else self._take(_TAKEN[code])
            maker, given = taken[0], taken[1:]
        self._check_uses(given)
        depth, weight = self._objects.measure(given)
        number = 0
        if maker < 0 and self._objects.kinds[~maker] == Kind.GLOBAL:
            name = self._makers[self._objects.refs[~maker]].name
            number = self._number_of(Maker(name, called=code not in _BY_NEW))
        self.stack.append(self._objects.add(Kind.MADE, number, depth + 1, weight + 1))

    def _build(self, code: int, argument: int, at: int) -> None:
        state = self._take(1)
        self._check_uses(state)
        target = self._top()
        self._note_change(target)
        if self._objects.kinds[~target] != Kind.MADE:
            raise MalformedError(at)
        self._objects.put_into(~target, state)
        if state[0] < 0:
            self._note_state(~state[0], self._objects.refs[~target])

    def _note_state(self, state: int, maker: int) -> None:
        """Note a state with values of slots, which are attributes of any name."""
        objects = self._objects
        kind, ref = objects.kinds[state], objects.refs[state]
        if kind == Kind.TUPLE and objects.parts[ref + 1] == _SLOT_STATE:
            slots = objects.parts[ref + 3]
            if slots < 0 and objects.kinds[~slots] == Kind.DICT:
                self._slotted.add(maker)
            elif slots < 0:
                self._changed.add(0)
        elif kind in {Kind.MADE, Kind.GLOBAL}:
            self._changed.add(0)

    def _note_change(self, target: int) -> None:
        objects = self._objects
        kind = objects.kinds[~target] if target < 0 else Kind.TEXT
        if kind == Kind.GLOBAL:
            name = self._makers[objects.refs[~target]].name
            raise RefusedChangeError(name or "an object that it names")
        if kind == Kind.MADE:
            self._changed.add(objects.refs[~target])
        elif kind not in {Kind.FRESH, Kind.DICT, Kind.OTHER_DICT}:
            raise IndexError(target)  # Nothing else can be changed.

    def makers_of_changed(self) -> set[Maker]:
        """How the changed objects were made."""
        if self._slotted and (self._has_escapes or self._may_name(_DUNDERS)):
            self._changed.add(0)
        return {
            self._makers[number]._replace(slots=number in self._slotted) for number in self._changed
        }

    def _may_name(self, names: tuple[bytes, ...]) -> bool:
        """Whether one of these names may be a text in the stream."""
        overlap = max(map(len, names))
        self._file.seek(0)
        end = b""
        while piece := self._file.read(_PIECE):
            if any(name in end + piece for name in names):
                return True
            end = piece[-overlap:]
        return False


_TAKEN = {CODES["REDUCE"]: 2, CODES["NEWOBJ"]: 2, CODES["NEWOBJ_EX"]: 3}
_BY_NEW = frozenset({CODES["NEWOBJ"], CODES["NEWOBJ_EX"]})
