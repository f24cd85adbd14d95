"""What each opcode does to the inert stack machine."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_atoms import ATOM_HANDLERS
from aiocheckpoint._snapshot.pickling.inert_hashable import add_members, put_items
from aiocheckpoint._snapshot.pickling.inert_objects import OBJECT_HANDLERS
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, Placeholder
from aiocheckpoint._snapshot.pickling.opcodes import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.inert_machine import Handler, InertMachine

__all__ = ["HANDLERS"]


def _refuse(_machine: InertMachine, _window: bytes, _pos: int) -> int:
    raise ValueError  # There is no such opcode.


# --- the stream, the stack and the memo


def _protocol(machine: InertMachine, window: bytes, pos: int) -> int:
    machine.protocol = window[pos + 1]
    if machine.protocol > pickle.HIGHEST_PROTOCOL:
        raise ValueError
    return pos + 2


def _frame(machine: InertMachine, window: bytes, pos: int) -> int:
    length = int.from_bytes(window[pos + 1 : pos + 9], "little")
    if machine.base + pos + 9 + length > machine.size:
        raise ValueError
    return pos + 9


def _stop(machine: InertMachine, _: bytes, pos: int) -> int:
    if machine.marks or len(machine.stack) != 1:
        raise ValueError
    machine.done = True
    return pos + 1


def _mark(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.marks.append(len(machine.stack))
    return pos + 1


def _pop(machine: InertMachine, _: bytes, pos: int) -> int:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.take(1)
    return pos + 1


def _pop_mark(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.take_to_mark()
    return pos + 1


def _dup(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.stack.append(machine.top())
    return pos + 1


def _memoize(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.memo[len(machine.memo)] = machine.top()
    return pos + 1


def _memo_number(width: int) -> Callable[[InertMachine, bytes, int], tuple[int, int]]:
    """Reads the number of a memo entry, as an integer of some bytes, or as a line for 0."""

    def read(machine: InertMachine, window: bytes, pos: int) -> tuple[int, int]:
        if width:
            return int.from_bytes(window[pos + 1 : pos + 1 + width], "little"), pos + 1 + width
        line = machine.line(window, pos + 1)
        return int(line), pos + 1 + len(line)

    return read


def _get(width: int) -> Handler:
    read = _memo_number(width)

    def handler(machine: InertMachine, window: bytes, pos: int) -> int:
        number, pos = read(machine, window, pos)
        machine.stack.append(machine.memo[number])
        return pos

    return handler


def _put(width: int) -> Handler:
    read = _memo_number(width)

    def handler(machine: InertMachine, window: bytes, pos: int) -> int:
        number, following = read(machine, window, pos)
        if not 0 <= number <= machine.base + pos:  # A stream has fewer entries than opcodes.
            raise ValueError
        machine.memo[number] = machine.top()
        return following

    return handler


# --- containers


def _empty(make: Callable[[], Any]) -> Handler:
    def handler(machine: InertMachine, _: bytes, pos: int) -> int:
        machine.stack.append(make())
        machine.made += 2
        return pos + 1

    return handler


def _tuple_of(count: int) -> Handler:
    def handler(machine: InertMachine, _: bytes, pos: int) -> int:
        machine.stack.append(tuple(machine.take(count)))
        machine.made += count
        return pos + 1

    return handler


def _tuple(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.stack.append(tuple(machine.take_to_mark()))
    return pos + 1


def _list(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.stack.append(machine.take_to_mark())
    return pos + 1


def _dict(machine: InertMachine, _: bytes, pos: int) -> int:
    items, made = machine.take_to_mark(), dict[Any, Any]()
    put_items(machine, made, items)
    machine.stack.append(made)
    return pos + 1


def _frozenset(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.stack.append(frozenset(add_members(machine, set(), machine.take_to_mark())))
    return pos + 1


def _append(machine: InertMachine, _: bytes, pos: int) -> int:
    _extend(machine, machine.take(1))
    machine.made += 1
    return pos + 1


def _appends(machine: InertMachine, _: bytes, pos: int) -> int:
    _extend(machine, machine.take_to_mark())
    return pos + 1


def _extend(machine: InertMachine, items: list[Any]) -> None:
    target = machine.top()
    if type(target) is list:
        target.extend(items)
    else:
        _add_to_object(target, items)


def _add_to_object(target: Any, items: list[Any]) -> None:  # noqa: ANN401
    if not isinstance(target, Placeholder):
        raise TypeError
    if target.items is MISSING:
        target.items = items
    else:
        target.items.extend(items)


def _add_items(machine: InertMachine, _: bytes, pos: int) -> int:
    items, target = machine.take_to_mark(), machine.top()
    if type(target) is set:
        add_members(machine, target, items)
    else:
        _add_to_object(target, items)
    return pos + 1


def _set_item(machine: InertMachine, _: bytes, pos: int) -> int:
    items = machine.take(2)
    machine.made += 2
    put_items(machine, machine.top(), items)
    return pos + 1


def _set_items(machine: InertMachine, _: bytes, pos: int) -> int:
    items = machine.take_to_mark()
    put_items(machine, machine.top(), items)
    return pos + 1


_OTHERS: dict[str, Handler] = {
    "PROTO": _protocol,
    "FRAME": _frame,
    "STOP": _stop,
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": _dup,
    "MEMOIZE": _memoize,
    "GET": _get(0),
    "BINGET": _get(1),
    "LONG_BINGET": _get(4),
    "PUT": _put(0),
    "BINPUT": _put(1),
    "LONG_BINPUT": _put(4),
    "EMPTY_LIST": _empty(list),
    "EMPTY_DICT": _empty(dict),
    "EMPTY_SET": _empty(set),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": _tuple,
    "LIST": _list,
    "DICT": _dict,
    "FROZENSET": _frozenset,
    "APPEND": _append,
    "APPENDS": _appends,
    "ADDITEMS": _add_items,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
}


def _table() -> list[Handler]:
    """The handler of each byte."""
    by_code = (
        {CODES[name]: handler for name, handler in _OTHERS.items()}
        | ATOM_HANDLERS
        | OBJECT_HANDLERS
    )
    return [by_code.get(code, _refuse) for code in range(256)]


HANDLERS: list[Handler] = _table()
