"""Checks of the owners of runs in one process, for every state handler."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._checking import (
    assert_refused,
    emptied,
    fault,
    fresh,
    must,
    store,
    store_under,
    unowned,
)
from aiocheckpoint.testing._checks_fences import assert_fenced, saying_held
from aiocheckpoint.testing._leases import assert_succeeded, short_lease

if TYPE_CHECKING:
    from aiocheckpoint.testing._checking import HandlerCheck, Make
    from aiocheckpoint.testing._faults import Faults

__all__ = ["OWNER_CHECKS"]

_LOCKS = 10


def check_owner_told(make: Make, faults: Faults | None = None) -> None:
    """The owner of a run is told in lists and headers, and nobody is told where it has none."""
    del faults
    with emptied(make, "owned", "free") as handler:
        store(handler, "free", "running")
        with handler.locked("owned") as lock:
            store_under(lock, handler, "owned", "running")
            listed = {header.run_id: header.owner for header in make().runs(Query())}
            must(listed["owned"], "runs() tells the owner of a run that has one")
            must(listed["free"] is None, "runs() tells no owner of a run that has none")
            header = make().header("owned")
            must(header is not None and header.owner, "header() tells the owner of a run")
        header = make().header("owned")
        must(header is not None and header.owner is None, "a released run has no owner")


def check_unowned(make: Make, faults: Faults | None = None) -> None:
    """A list of due runs without an owner leaves out those that have one."""
    del faults
    with emptied(make, "owned", "free") as handler:
        store(handler, "free", "running")
        with handler.locked("owned") as lock:
            store_under(lock, handler, "owned", "running")
            must(unowned(make) == ["free"], "unowned= leaves out runs that a living owner has")
        listed = sorted(map(str, unowned(make)))
        must(listed == ["free", "owned"], "unowned= lists a run that was released")


def check_rows_left(make: Make, faults: Faults | None = None) -> None:
    """A lock that was released, and a run that was removed, leave nothing in the store."""
    rows = fault(faults, "rows")
    # No run of such an id may have left a row before.
    removed, *run_ids = (f"row {secrets.token_hex(8)}" for _ in range(_LOCKS))
    with fresh(make, "rows") as handler:
        with handler.locked("rows"):  # Makes what is made once.
            pass
        before = rows()
        for run_id in run_ids:
            with handler.locked(run_id):
                assert_refused(make(), run_id)
        must(rows() == before, "a lock that was released leaves nothing in the store")
        with handler.locked(removed) as lock:
            for _ in range(_LOCKS):
                store_under(lock, handler, removed, "running")
            handler.write_progress(removed, b"progress", lock=lock)
            handler.write_ending(removed, "asked")
        handler.remove(removed)
        must(rows() == before, "a run that was removed leaves nothing in the store")


def check_paused_owner(make: Make, faults: Faults | None = None) -> None:
    """An owner of this process that sends no heartbeat is succeeded, and can change nothing."""
    pause = fault(faults, "pause_owner")
    lease = short_lease(make)
    with fresh(make, "paused") as handler:
        lock = handler.lock("paused")
        lock.acquire()
        store_under(lock, handler, "paused", "running")
        with pause():
            other = assert_succeeded(make(), "paused", lease, "stopped")
            with saying_held(lock):
                assert_fenced(lock, handler, "paused", "taken from a stopped owner")
            store_under(other, make(), "paused", "running")
            other.release()


OWNER_CHECKS: tuple[HandlerCheck, ...] = (
    check_owner_told,
    check_unowned,
    check_rows_left,
    check_paused_owner,
)
"""Each check is called with `make` and `faults`, see `check_handler`."""
