"""Named points in the replacement of a file, at which a test can call a function."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["FAILPOINTS", "armed", "reach"]

FAILPOINTS = ("created", "written", "flushed", "closed", "kept", "renamed", "durable")
"""In the order in which a snapshot reaches them. "flushed" and "durable" only with `fsync`, "kept"
only with `keep`."""

_actions: dict[str, Callable[[], object]] = {}


def reach(name: str) -> None:
    """Reach a point. Nothing happens unless a test armed it."""
    if _actions and name in _actions:
        _actions[name]()


@contextmanager
def armed(name: str, action: Callable[[], object]) -> Generator[None, None, None]:
    """Call `action` whenever a point is reached, for the time of a `with` block."""
    _actions[name] = action
    try:
        yield
    finally:
        del _actions[name]
