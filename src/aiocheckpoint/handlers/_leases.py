"""The options `lock=` and `lease=` of handlers."""

from __future__ import annotations

import sys
from typing import Literal

from aiocheckpoint._model.checks import checked_number
from aiocheckpoint.errors import InvalidValueError

__all__ = ["LEASE_SECONDS", "LockKind", "checked_lease", "checked_lock_kind"]

LockKind = Literal["kernel", "lease"]
"""How the lock of a run is held: by the kernel's lock on a file, or by a renewed file."""

LEASE_SECONDS = 30.0
_SHORTEST_LEASE = 0.1


def checked_lease(lease: object) -> float:
    """Give the length of a lease in seconds back if it is one."""
    seconds = checked_number("lease=", lease, "a number of seconds")
    if not _SHORTEST_LEASE <= seconds < float("inf"):
        raise InvalidValueError(f"lease={lease!r}: it is a number of seconds, at least 0.1.")
    return float(seconds)


def checked_lock_kind(kind: object, lease: object) -> tuple[LockKind, float]:
    """Give the kind of a lock, and the length of its lease, back if they fit together."""
    if kind not in {"kernel", "lease"}:
        raise InvalidValueError(f"lock={kind!r}: it is 'kernel' or 'lease'.")
    if kind == "kernel":
        if lease is not None:
            raise InvalidValueError(
                "lease= is the length of a lease, and needs lock='lease'. The kernel's lock ends "
                "with the process."
            )
        return "kernel", LEASE_SECONDS
    if sys.platform == "win32":
        raise InvalidValueError("lock='lease' cannot be used on Windows, which locks every disk.")
    return "lease", LEASE_SECONDS if lease is None else checked_lease(lease)
