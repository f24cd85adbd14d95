"""The module that a public class or function says it is from: the one that users import."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["publish"]


def publish(module: str, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Let classes and functions name the public module as theirs.

    Their `repr`, and the pickles of records, then name no private module, so that these can move.

    Args:
        module: The public module.
        namespace: Its names, or the ones of a private module that defines them.
        names: The names in it that are public; all but classes and functions are skipped.
    """
    for name in names:
        thing = namespace.get(name)
        if isinstance(thing, (type, FunctionType)):
            thing.__module__ = module
