"""Finds what in a state cannot be stored, by dumping its parts one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

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
    if depth and (path == "state" or reason != NESTED):
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


def _parts(path: str, value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    for key, item in _items(value):
        yield f"{path}[{_shown(key)}]", item
        yield f"{path}.keys()[{_shown(key)}]", key
    for item in _members(value):
        yield f"{path}.{{{type(item).__name__}}}", item
    for name, item in list(getattr(value, "__dict__", {}).items()):
        yield f"{path}.{name}", item


def _items(value: Any) -> list[tuple[object, object]]:  # noqa: ANN401
    if isinstance(value, dict):
        return list(cast("dict[object, object]", value).items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(cast("list[object]", value)))
    return []


def _members(value: Any) -> list[object]:  # noqa: ANN401
    return list(cast("set[object]", value)) if isinstance(value, (set, frozenset)) else []


def _shown(key: object) -> str:
    if isinstance(key, str):
        return '"' + (key if len(key) <= _KEY_LENGTH else key[:_KEY_LENGTH] + "…") + '"'
    return repr(key) if isinstance(key, (int, type(None))) else f"<{type(key).__name__}>"
