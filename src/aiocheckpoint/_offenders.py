"""Finds what in a state cannot be stored, by dumping its parts one by one."""

from __future__ import annotations

import collections
import contextlib
import functools
import types
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._forbidden import why_forbidden
from aiocheckpoint._serializer import NESTED, UnserializableError, dump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer as Buffer

__all__ = ["find_offenders"]

_DEPTH = 20
_MOST = 10
_KEY_LENGTH = 60


class _Nowhere:
    def write(self, chunk: Buffer, /) -> None:
        """Keep nothing."""

    def rewind(self) -> None:
        """Nothing was kept."""


def find_offenders(state: object) -> tuple[tuple[str, str], ...]:
    """Find the innermost values that cannot be dumped, at most ten of them.

    Returns:
        Pairs of a path such as `state["jobs"][3].lock` and the reason, which names types and
        never holds a value. Empty if everything can be dumped on its own.
    """
    found: list[tuple[str, str]] = []
    _search("state", state, found, set(), _DEPTH)
    return tuple(found)


def _search(
    path: str, value: object, found: list[tuple[str, str]], seen: set[int], depth: int
) -> None:
    reason = _problem(value)
    if reason is None or len(found) >= _MOST or id(value) in seen:
        return
    seen.add(id(value))
    before = len(found)
    if depth and (path == "state" or reason != NESTED) and not why_forbidden(type(value)):
        for part_path, part in _parts(path, value):
            _search(part_path, part, found, seen, depth - 1)
    if len(found) == before:
        found.append((path, f"{type(value).__qualname__}: {reason}"))


def _problem(value: object) -> str | None:
    try:
        dump(value, _Nowhere())
    except UnserializableError as error:
        return str(error)
    return None


def _parts(path: str, value: object) -> list[tuple[str, object]]:
    """Paths and values of the parts of a value, as far as it shows them."""
    found: list[tuple[str, object]] = []
    for parts in (_items, _members, _attributes):
        # Proxies and the like raise anything at all when they are looked at.
        with contextlib.suppress(Exception):
            found.extend((path + name, part) for name, part in parts(value))
    return found


def _items(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, dict):
        for key, item in list(cast("dict[object, object]", value).items()):
            yield f"[{_shown(key)}]", item
            yield f".keys()[{_shown(key)}]", key
    elif isinstance(value, (list, tuple, collections.deque)):
        for index, item in enumerate(list(cast("list[object]", value))):
            yield f"[{index}]", item


def _members(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, (set, frozenset)):
        for item in list(cast("set[object]", value)):
            yield f".{{{type(item).__name__}}}", item
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield f".<closure>.{name}", cell.cell_contents


def _attributes(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, type):
        return
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    if isinstance(value, functools.partial):
        names += ["func", "args", "keywords"]
    elif isinstance(value, BaseException):
        names += ["args"]
    for name in names:
        if hasattr(value, name):
            yield f".{name}", getattr(value, name)


def _shown(key: object) -> str:
    if type(key) is str:
        return '"' + (key if len(key) <= _KEY_LENGTH else key[:_KEY_LENGTH] + "…") + '"'
    if type(key) in {bool, type(None)} or (type(key) is int and key.bit_length() <= _KEY_LENGTH):
        return repr(key)
    return f"<{type(key).__name__}>"
