"""Sets `__module__` of public names to the module that users import."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["publish"]


def publish(module: str, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Set the public module as that of classes and functions.

    Their `repr`, and the pickles of records, then name no private module, so that these can move.

    Args:
        module: The public module.
        namespace: Its names, or the ones of a private module that defines them.
        names: The public names in it. All but classes and functions are skipped.
    """
    for name in names:
        value = namespace.get(name)
        if isinstance(value, (type, FunctionType)):
            value.__module__ = module
