"""Inert values as text, in a notation near to Python's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["shown_value"]


def shown_value(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Show a value of a record, whose marks `inert_json` of the decoder lists.

    Plain data is shown as Python would show it, any other object as `<shop.Place>`.
    """
    if isinstance(value, list):
        return f"[{_items(value)}]"
    if not isinstance(value, dict):
        return repr(value)
    if "$global" in value:
        return f"<global {value['$global']}>"
    if "$type" in value:
        return _marked(value)
    return f"{{{_entries(value.items())}}}"


def _marked(value: dict[str, Any]) -> str:
    kind = value["$type"]
    if "$cycle" in value or ("$size" in value and "$base64" not in value):
        facts = [f"{value['$size']:,} long"] if "$size" in value else ["..."]
        return f"<{' '.join([kind, *facts])}>"
    show = _SHOWN.get(kind)
    if show is not None and ("$value" in value or "$items" in value or "$base64" in value):
        return show(value)
    return _object(value)


def _object(value: dict[str, Any]) -> str:
    """An object: its type, and the facts of a well-known one."""
    known = (key for key in value if key not in _OF_OBJECTS)
    facts = " ".join(_fact(value[key]) for key in known)
    return f"<{value['$type']} {facts}>" if facts else f"<{value['$type']}>"


_OF_OBJECTS = frozenset({"$type", "$args", "$state", "$items", "$entries", "$cut"})


def _fact(fact: Any) -> str:  # noqa: ANN401 - any JSON
    return fact if isinstance(fact, str) else shown_value(fact)


def _items(items: Iterable[Any]) -> str:
    return ", ".join(_more(one) if _is_cut(one) else shown_value(one) for one in items)


def _entries(entries: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(
        f"... {entry:,} more" if key == "$cut" else f"{key!r}: {shown_value(entry)}"
        for key, entry in entries
    )


def _is_cut(value: Any) -> bool:  # noqa: ANN401 - any JSON
    return isinstance(value, dict) and value.keys() == {"$cut"}


def _more(value: dict[str, Any]) -> str:
    return f"... {value['$cut']:,} more"


def _number(value: dict[str, Any]) -> str:
    return f"{value['$value']}{_cut_of(value)}"


def _text(value: dict[str, Any]) -> str:
    text: str = value["$value"]
    is_python = "$escaped" in value  # A text with lone surrogates.
    quoted = text if is_python else repr(text)
    return f"{quoted}{_cut_of(value)}"


def _bytes(value: dict[str, Any]) -> str:
    shown = repr(base64.b64decode(value["$base64"]))
    quoted = shown if value["$type"] == "bytes" else f"bytearray({shown})"
    return f"{quoted}{_cut_of(value)}"


def _cut_of(value: dict[str, Any]) -> str:
    return f" ... {value['$cut']:,} more" if "$cut" in value else ""


def _tuple(value: dict[str, Any]) -> str:
    items: list[Any] = value["$items"]
    return f"({_items(items)},)" if len(items) == 1 else f"({_items(items)})"


def _set(value: dict[str, Any]) -> str:
    return f"{{{_items(value['$items'])}}}" if value["$items"] else "set()"


def _frozenset(value: dict[str, Any]) -> str:
    return f"frozenset({{{_items(value['$items'])}}})"


def _dict(value: dict[str, Any]) -> str:
    shown = (
        _more(one) if isinstance(one, dict) else f"{shown_value(one[0])}: {shown_value(one[1])}"
        for one in value["$items"]
    )
    return f"{{{', '.join(shown)}}}"


_SHOWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "int": _number,
    "float": _number,
    "complex": _number,
    "str": _text,
    "bytes": _bytes,
    "bytearray": _bytes,
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "dict": _dict,
}
