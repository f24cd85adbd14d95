"""The inert decoder: the bytes of a stored state to a plain tree, without executing anything.

Nothing is imported, opened, looked up or called. Plain data is decoded as unpickling would do.
Anything else is a placeholder with the name of its type, and what it was pickled with.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.keys import POSITION_KEY, is_position
from aiocheckpoint._snapshot.pickling.inert_diff import Change, Differences, diff_trees
from aiocheckpoint._snapshot.pickling.inert_digests import Digester
from aiocheckpoint._snapshot.pickling.inert_handlers import HANDLERS
from aiocheckpoint._snapshot.pickling.inert_json import to_json
from aiocheckpoint._snapshot.pickling.inert_known import type_name
from aiocheckpoint._snapshot.pickling.inert_machine import ROOT_AND_ITEM, InertMachine
from aiocheckpoint._snapshot.pickling.inert_states import Inert, InertKey
from aiocheckpoint._snapshot.pickling.inert_values import (
    CUT,
    DEFAULT,
    MISSING,
    BeyondBoundError,
    InertBounds,
    Placeholder,
)
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

__all__ = [
    "MISSING",
    "Change",
    "Differences",
    "Inert",
    "InertBounds",
    "decode_inert",
    "diff_trees",
    "to_json",
    "type_name",
]


def decode_inert(stream: BinaryIO, bounds: InertBounds = DEFAULT) -> Inert:
    """Decode the state whose pickle is at the beginning of a file.

    Args:
        stream: The file, seekable. Bytes behind the end of the pickle are not looked at.
        bounds: The bounds. Where one is reached, the keys so far are given.

    Raises:
        MalformedError: It is no whole pickle of a dict.
    """
    machine = InertMachine(stream, stream.seek(0, os.SEEK_END), bounds, HANDLERS)
    try:
        machine.run()
    except BeyondBoundError:
        return _made(machine, _items_so_far(machine), complete=False)
    return _made(machine, _items_of(machine.stack[0]), complete=True)


def _items_of(root: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - an inert tree
    if type(root) is dict:
        return list(root.items())
    if isinstance(root, Placeholder) and root.entries is not MISSING:
        return root.entries
    raise MalformedError(0)


def _items_so_far(machine: InertMachine) -> list[tuple[Any, Any]]:
    """The items of a stream that was not read up to its end. The value of the last is cut."""
    stack = machine.stack
    has_items = stack and getattr(stack[0], "entries", None) is not MISSING
    items = _items_of(stack[0]) if has_items else []
    if machine.marks[:1] == [1]:  # The mark of the items, which are set together.
        height = machine.marks[1] if len(machine.marks) > 1 else len(stack)
    else:  # Each item is set alone. What is above a key and its value belongs to the value.
        height = min(ROOT_AND_ITEM, *machine.marks, len(stack))
    machine.note_spans(height, machine.at)
    waiting = [*stack[1:height], CUT]
    pairs = list(zip(waiting[::2], waiting[1::2], strict=False))
    return [*items, *pairs[:-1], *((key, CUT) for key, _ in pairs[-1:])]


def _made(machine: InertMachine, items: Iterable[tuple[Any, Any]], *, complete: bool) -> Inert:
    digester, position = Digester(machine.long, machine.deadline), None
    spans: dict[str, int] = {}
    for key, span in machine.spans:
        name = _name(digester, key)
        spans[name] = spans.get(name, 0) + span
    keys: dict[str, InertKey] = {}
    for key, tree in items:
        if type(key) is str and key == POSITION_KEY:
            position = tree if is_position(tree) else None
            continue
        name, digest = _name(digester, key), _digest(digester, tree)
        complete = complete and bool(digest)
        keys[name or f"key {len(keys)}"] = InertKey(key, tree, spans.get(name, 0), digest)
    return Inert(tuple(keys.values()), complete, position, digester)


def _name(digester: Digester, key: Any) -> str:  # noqa: ANN401
    """The text of a key. Empty where it takes too long."""
    try:
        return digester.text(key)
    except BeyondBoundError:
        return ""


def _digest(digester: Digester, tree: Any) -> str:  # noqa: ANN401
    """The digest of a value. Empty where it takes too long, or the value is cut."""
    try:
        return "" if tree is CUT else digester.digest(tree)
    except BeyondBoundError:
        return ""
