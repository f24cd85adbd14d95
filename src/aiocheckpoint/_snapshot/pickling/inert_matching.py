"""Which parts of two inert trees belong together, when the trees are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_known import recognize, type_name
from aiocheckpoint._snapshot.pickling.inert_paths import step_of
from aiocheckpoint._snapshot.pickling.inert_values import Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "are_compared_by_parts",
    "differing_part",
    "in_order",
    "kind_of_change",
    "match_rewritten",
]


def are_compared_by_parts(old: Placeholder, new: Placeholder) -> bool:
    """Whether two objects are of one type and form, and of no well-known type."""
    return (
        (old.kind, old.type, old.written_by) == (new.kind, new.type, new.written_by)
        and old.kind not in ("global", "large")
        and recognize(old) is None
        and recognize(new) is None
    )


def kind_of_change(old: Placeholder, new: Placeholder) -> str:
    """Whether two objects differ, or may only be written in another way."""
    if recognize(old) is not None and recognize(new) is not None:
        return "changed"
    kinds = {old.kind, new.kind}
    if kinds == {"global", "object"}:  # A class or function by its name, and one by value.
        return "rewritten" if "by value" in (old.written_by, new.written_by) else "changed"
    is_same = kinds == {"object"} and type_name(old) == type_name(new)
    return "rewritten" if is_same else "changed"


def match_rewritten(
    old: dict[str, Any], new: dict[str, Any], key_of: Callable[[Any], Any]
) -> set[str]:
    """Give keys that may only be written in another way the text of the old key.

    Returns:
        These texts.
    """
    waiting: dict[str, list[str]] = {}
    for text in sorted(new.keys() - old.keys()):
        if isinstance(key_of(new[text]), Placeholder):
            waiting.setdefault(type_name(key_of(new[text])), []).append(text)
    matched: set[str] = set()
    for text in sorted(old.keys() - new.keys()) if waiting else ():
        key, others = key_of(old[text]), waiting.get(type_name(key_of(old[text])))
        if (
            isinstance(key, Placeholder)
            and others
            and kind_of_change(key, key_of(new[others[0]])) == "rewritten"
        ):
            new[text] = new.pop(others.pop(0))
            matched.add(text)
    return matched


def in_order(
    old: dict[str, Any], new: dict[str, Any], key_of: Callable[[Any], Any]
) -> list[tuple[str, str]]:
    """The steps of paths to the keys of two dicts, and the texts of the keys, in their order."""
    texts = old.keys() | new.keys()
    return sorted((step_of(key_of(old.get(text) or new.get(text))), text) for text in texts)


def differing_part(old: list[str], new: list[str]) -> tuple[int, tuple[int, int]]:
    """Where two lists begin to differ, and the ends of what differs in each."""
    begin, shorter = 0, min(len(old), len(new))
    while begin < shorter and old[begin] == new[begin]:
        begin += 1
    one, other = len(old), len(new)
    while one > begin and other > begin and old[one - 1] == new[other - 1]:
        one, other = one - 1, other - 1
    return begin, (one, other)
