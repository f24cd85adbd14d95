"""The opcodes that name a global, call it or change an object, and references to the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_calls import call, make_new, name_global
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, Placeholder
from aiocheckpoint._snapshot.pickling.opcodes import CODES

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.inert_machine import Handler, InertMachine

__all__ = ["OBJECT_HANDLERS"]


def _global(machine: InertMachine, window: bytes, pos: int) -> int:
    pos, found = _named(machine, window, pos)
    machine.stack.append(found)
    return pos


def _named(machine: InertMachine, window: bytes, pos: int) -> tuple[int, Placeholder]:
    module = machine.line(window, pos + 1)
    name = machine.line(window, pos + 1 + len(module))
    found = name_global(machine, module[:-1].decode(), name[:-1].decode())
    return pos + 1 + len(module) + len(name), found


def _stack_global(machine: InertMachine, _: bytes, pos: int) -> int:
    module, name = machine.take(2)
    machine.stack.append(name_global(machine, module, name))
    return pos + 1


def _reduce(machine: InertMachine, _: bytes, pos: int) -> int:
    maker, args = machine.take(2)
    machine.stack.append(call(machine, maker, args))
    return pos + 1


def _newobj(machine: InertMachine, _: bytes, pos: int) -> int:
    maker, args = machine.take(2)
    machine.stack.append(make_new(machine, maker, args))
    return pos + 1


def _newobj_ex(machine: InertMachine, _: bytes, pos: int) -> int:
    maker, args, named = machine.take(3)
    machine.stack.append(make_new(machine, maker, args, named))
    return pos + 1


def _obj(machine: InertMachine, _: bytes, pos: int) -> int:
    maker, *args = machine.take_to_mark()
    machine.stack.append(call(machine, maker, tuple(args)))
    return pos + 1


def _inst(machine: InertMachine, window: bytes, pos: int) -> int:
    following, maker = _named(machine, window, pos)
    machine.stack.append(call(machine, maker, tuple(machine.take_to_mark())))
    return following


def _build(machine: InertMachine, _: bytes, pos: int) -> int:
    (state,) = machine.take(1)
    target = machine.top()
    if not isinstance(target, Placeholder):
        raise TypeError
    target.state = state if target.state is MISSING else (target.state, state)
    machine.made += 1
    return pos + 1


def _persistent(machine: InertMachine, window: bytes, pos: int) -> int:
    line = machine.line(window, pos + 1)
    _push_persistent(machine, line[:-1].decode("ascii"))
    return pos + 1 + len(line)


def _binary_persistent(machine: InertMachine, _: bytes, pos: int) -> int:
    _push_persistent(machine, machine.take(1)[0])
    return pos + 1


def _push_persistent(machine: InertMachine, number: Any) -> None:  # noqa: ANN401
    machine.stack.append(Placeholder("persistent", "persistent id", args=(number,)))
    machine.made += 3


def _extension(width: int) -> Handler:
    def handler(machine: InertMachine, window: bytes, pos: int) -> int:
        number = int.from_bytes(window[pos + 1 : pos + 1 + width], "little")
        machine.stack.append(Placeholder("extension", f"extension {number}"))
        machine.made += 3
        return pos + 1 + width

    return handler


def _buffer(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.stack.append(Placeholder("buffer", "buffer"))
    machine.made += 3
    return pos + 1


def _read_only(machine: InertMachine, _: bytes, pos: int) -> int:
    machine.top()
    return pos + 1


OBJECT_HANDLERS: dict[int, Handler] = {
    CODES[name]: handler
    for name, handler in {
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce,
        "NEWOBJ": _newobj,
        "NEWOBJ_EX": _newobj_ex,
        "OBJ": _obj,
        "INST": _inst,
        "BUILD": _build,
        "PERSID": _persistent,
        "BINPERSID": _binary_persistent,
        "EXT1": _extension(1),
        "EXT2": _extension(2),
        "EXT4": _extension(4),
        "NEXT_BUFFER": _buffer,
        "READONLY_BUFFER": _read_only,
    }.items()
}
