"""Event loops that are held weakly, as one may be closed and dropped under what is on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

__all__ = ["is_gone"]


def is_gone(loop: Callable[[], AbstractEventLoop | None]) -> bool:
    """Whether the loop of a weak reference was closed, or is no more."""
    found = loop()
    return found is None or found.is_closed()
