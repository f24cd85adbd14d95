"""Keys of dicts and members of sets, whose hash and comparison must take little time and stack.

The hash of a tuple goes through all that it holds, in C and without a bound. A tuple that holds
itself twice, fifty levels deep, would take for ever. So a key that is nested deeply, or that holds
much, is wrapped. The hash of an integer is made anew each time, so long ones count as many values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_values import MISSING, SCALARS, Placeholder

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.inert_machine import InertMachine

__all__ = ["add_members", "put_items"]

_TEXT = frozenset({str})
_NESTED = (tuple, frozenset)
_LEVELS, _MEMBERS, _SOME = 8, 4_096, 256
_WEIGHT_BITS = 13  # An integer counts as one value more for each KiB.


def add_members(machine: InertMachine, target: set[Any], members: list[Any]) -> set[Any]:
    """Add members to a set, and give it."""
    members = _as_keys(machine, members)
    for begin in range(0, len(members), _SOME):
        target.update(members[begin : begin + _SOME])
        if begin:
            machine.check()
    return target


def _as_keys(machine: InertMachine, values: list[Any]) -> list[Any]:
    """Values whose hash takes little time. Others are wrapped in a placeholder."""
    if machine.long:
        machine.made += sum(map(_weight, values)) - len(values)
        machine.check()
    if SCALARS.issuperset(map(type, values)):
        return values
    return [_as_key(machine, value) for value in values]


def _as_key(machine: InertMachine, value: Any) -> Any:  # noqa: ANN401
    if type(value) not in _NESTED:
        return value
    machine.check()
    if type(value) is frozenset and SCALARS.issuperset(map(type, value)):
        return value  # It keeps the hashes of its members.
    layer, count = [value], 0
    for _ in range(_LEVELS):
        count += sum(map(len, layer))
        if count > _MEMBERS:
            break
        count += sum(_weight(one) - 1 for many in layer for one in many)
        if count > _MEMBERS:
            break
        layer = [one for many in layer for one in many if type(one) in _NESTED]
        if not layer:
            return value
    return Placeholder("object", f"builtins.{type(value).__name__}", "nested", (value,))


def _weight(value: Any) -> int:  # noqa: ANN401
    return 1 + (value.bit_length() >> _WEIGHT_BITS) if type(value) is int else 1


def put_items(machine: InertMachine, target: Any, items: list[Any]) -> None:  # noqa: ANN401
    """Set items, keys and values in turn, in a dict or in a placeholder.

    Raises:
        TypeError: The target is neither, or a key has no hash.
        ValueError: A key has no value.
    """
    if len(items) % 2:
        raise ValueError
    keys, values = items[::2], items[1::2]
    are_texts = _TEXT.issuperset(map(type, keys))
    if type(target) is dict and are_texts and len(keys) <= _SOME and not machine.long:
        target.update(zip(keys, values, strict=True))
        return
    if isinstance(target, Placeholder):
        if target.entries is MISSING:
            target.entries = []
        target.entries.extend(zip(keys, values, strict=True))
        return
    if type(target) is not dict:
        raise TypeError
    if not are_texts:
        keys = _as_keys(machine, keys)
    for begin in range(0, len(keys), _SOME):
        target.update(zip(keys[begin : begin + _SOME], values[begin : begin + _SOME], strict=True))
        if begin or machine.long:  # Hashes and comparisons of long texts take long as well.
            machine.check()
