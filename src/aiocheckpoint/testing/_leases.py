"""Waiting for leases to run out, in the checks of state handlers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiocheckpoint.errors import RunInProgressError, StoreUnreachableError
from aiocheckpoint.testing._checking import must, not_checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers import Lock, StateHandler
    from aiocheckpoint.testing._checking import Make

__all__ = ["assert_kept", "assert_soon", "assert_succeeded", "lease_of", "short_lease"]

_LONGEST_LEASE = 5.0
_LOOKS_PER_SECOND = 20


def lease_of(make: Make) -> float | None:
    """The length of the leases of handlers in seconds, or None where they have none."""
    lease: float | None = getattr(make(), "lease", None)
    return lease


def short_lease(make: Make) -> float:
    """The length of a lease that can be waited for.

    Raises:
        SkipTest: The handlers have no leases, or longer ones.
    """
    lease = lease_of(make)
    if lease is None:
        raise not_checked("its handlers have no attribute `lease`, and so no leases")
    if lease > _LONGEST_LEASE:
        raise not_checked(f"a lease of {lease:g} s is not waited for: make handlers with lease=1")
    return lease


def assert_succeeded(handler: StateHandler, run_id: str, lease: float, how: str) -> Lock:
    """Check that the owner of a run is succeeded within its lease and a second.

    Args:
        handler: A handler of another owner.
        run_id: The run.
        lease: Length of the lease in seconds. 0 for none.
        how: What became of the owner.

    Returns:
        The lock of the successor, held.
    """
    lock = handler.lock(run_id)
    assert_soon(lambda: _is_acquired(lock), lease, f"an owner that was {how} is succeeded")
    return lock


def assert_soon(look: Callable[[], bool], lease: float, rule: str) -> None:
    """Check that something comes true within a lease and a second.

    Time is counted in looks, so that a busy machine only stretches it.

    Args:
        look: Whether it is true.
        lease: Length of the lease in seconds. 0 for none.
        rule: What is to come true.
    """
    for _ in range(round(_LOOKS_PER_SECOND * (lease + 1.0))):
        time.sleep(1 / _LOOKS_PER_SECOND)
        if look():
            return
    lasts = f"its lease of {lease:g} s and a second" if lease else "a second"
    raise AssertionError(f"{rule} within {lasts}")


def assert_kept(handler: StateHandler, run_id: str, seconds: float) -> None:
    """Check that a living owner keeps its run.

    Args:
        handler: A handler of another owner.
        run_id: The run.
        seconds: For how long. Longer than its lease.
    """
    lock, end = handler.lock(run_id), time.monotonic() + seconds
    while time.monotonic() < end:
        is_acquired = _is_acquired(lock)
        if is_acquired:
            lock.release()
        must(not is_acquired, "a living owner keeps its run for longer than its lease")
        time.sleep(1 / _LOOKS_PER_SECOND)


def _is_acquired(lock: Lock) -> bool:
    try:
        lock.acquire()
    except (RunInProgressError, StoreUnreachableError):
        return False
    return True
