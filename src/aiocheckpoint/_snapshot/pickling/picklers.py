"""The pickler that is at work on an object: Python's own finds functions by their names alone."""

from __future__ import annotations

import pickle
import sys
from typing import Any

__all__ = ["is_plain_pickle"]

_PURE: Any = vars(pickle)["_Pickler"]
_PLAIN = frozenset(
    {
        ("_pickle", "Pickler"),
        ("pickle", "_Pickler"),
        ("multiprocessing.reduction", "ForkingPickler"),
    }
)
"""Classes of picklers, by module and name."""


def is_plain_pickle() -> bool:
    """Whether the pickler that has called the caller's `__reduce_ex__` is Python's own.

    The pickler in C has no frame. One that carries functions by value, such as that of cloudpickle
    or dill, is called through a method of its own, which has.
    """
    frame = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    while True:
        kind = type(frame.f_locals.get("self"))
        if issubclass(kind, (pickle.Pickler, _PURE)):
            return (kind.__module__, kind.__name__) in _PLAIN
        if frame.f_back is None:
            return True
        frame = frame.f_back
