"""Copies of collections that others change meanwhile, where a lock is no way.

A signal handler or a finalizer may change them in the midst of any line, as other threads do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["copied"]

_Item = TypeVar("_Item")


def copied(collection: Iterable[_Item]) -> list[_Item]:
    """Copy a dict or set as a list, once more if its size changes meanwhile."""
    while True:
        try:
            return list(collection)
        except RecursionError:
            raise
        except RuntimeError:  # Python notices the change, and raises this.
            continue
