"""Checks of the locks of runs, for every state handler."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.testing._checking import (
    assert_lost,
    assert_refused,
    bytes_of,
    fresh,
    is_stored,
    must,
    store,
    store_under,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["LOCK_CHECKS"]

_MANY = 20


def check_lock(make: Make) -> None:
    """A run has one owner, and a released lock can be taken again."""
    with fresh(make, "lock") as handler, fresh(make, "other"):
        lock = handler.lock("lock")
        lock.release()
        lock.acquire()
        try:
            for second in (handler, make()):
                assert_refused(second, "lock")
            other = make().lock("other")
            other.acquire()
            other.release()
        finally:
            lock.release()
            lock.release()
        again = make().lock("lock")
        again.acquire()
        again.release()


def check_one_of_many(make: Make) -> None:
    """One of many threads that ask for a lock at once gets it."""
    with fresh(make, "many"):
        barrier = threading.Barrier(8)

        def ask(_: int) -> Any:  # noqa: ANN401 - a lock or None
            lock = make().lock("many")
            barrier.wait()
            try:
                lock.acquire()
            except RunInProgressError:
                return None
            return lock

        with ThreadPoolExecutor(8) as pool:
            locks = [lock for lock in pool.map(ask, range(8)) if lock is not None]
        for lock in locks:
            lock.release()
        must(len(locks) == 1, f"one of eight gets the lock, not {len(locks)}")


def check_held(make: Make) -> None:
    """A lock knows whether it is held, and one release frees it."""
    with fresh(make, "held") as handler:
        lock, other = handler.lock("held"), make().lock("held")
        must(not lock.held, "a lock that was not taken is not held")
        lock.acquire()
        lock.acquire()
        must(lock.held, "a lock that was taken is held")
        must(not other.held, "a lock that another owner took is not held")
        assert_refused(make(), "held")
        lock.release()
        must(not lock.held, "a released lock is not held")
        other.acquire()
        must(other.held, "a lock that was taken is held")
        must(not lock.held, "a lock that another owner took is not held")
        lock.release()
        must(other.held, "releasing a lock that is not held takes nothing from its owner")
        assert_refused(handler, "held")
        other.release()


def check_lock_given_back(make: Make) -> None:
    """A released lock allows no change, whether or not another owner took it."""
    with fresh(make, "back") as handler:
        store(handler, "back", "stopped")
        lock = handler.lock("back")
        lock.acquire()
        store_under(lock, handler, "back", "running")
        lock.release()
        assert_lost(lock, handler, "back", "released")
        with make().locked("back") as other:
            assert_lost(lock, handler, "back", "released and taken by another owner")
            must(other.held, "a lock that was taken is held")
            store_under(other, make(), "back", "running")
        assert_lost(handler.lock("back"), handler, "back", "never taken")


def check_lock_file_deleted(make: Make) -> None:
    """A lock whose file another program deleted allows no change. Locks without a file pass."""
    with fresh(make, "deleted") as handler:
        store(handler, "deleted", "stopped")
        with handler.locked("deleted") as lock:
            file: str | None = getattr(lock, "file", None)
            if file is None or os.name == "nt":  # Windows forbids it while the file is open.
                return
            os.unlink(file)
            assert_lost(lock, handler, "deleted", "deleted as a file")
            with make().locked("deleted") as other:
                assert_lost(lock, handler, "deleted", "deleted as a file and taken by another")
                lock.release()
                store_under(other, make(), "deleted", "running")
                assert_refused(handler, "deleted")


def check_without_lock(make: Make) -> None:
    """A change without a lock is made while the lock is free, or not at all."""
    with fresh(make, "without") as handler:
        header = store_under(None, handler, "without")
        must(is_stored(handler, header), "replace() works without a lock")
        before = bytes_of(handler, "without")
        with make().locked("without") as lock:
            deeds: tuple[Callable[[], object], ...] = (
                lambda: store_under(None, handler, "without"),
                lambda: store_under(None, make(), "without", "running"),
                lambda: handler.remove("without"),
            )
            for deed in deeds:
                refused = False
                try:
                    deed()
                except RunInProgressError:
                    refused = True
                must(refused, "without a lock, nothing is changed while another owner holds it")
                must(bytes_of(make(), "without") == before, "a refused change changes nothing")
            must(lock.held, "a refused change takes no lock away")
        store_under(None, handler, "without")
        with make().locked("without"):
            pass


def check_last_snapshot(make: Make) -> None:
    """The lock of a run that stored its last snapshot and released it is free at once."""
    with fresh(make, "last") as handler:
        with handler.locked("last") as lock:
            for status in ("running", "running", "failed"):
                header = store_under(lock, handler, "last", status)
                must(is_stored(make(), header), "a snapshot stored under a lock is read by others")
                if status == "running":
                    assert_refused(make(), "last")
        with make().locked("last") as other:
            other.release()
        handler.write({"n": 1}, "last")
        with make().locked("last") as other:
            make().remove("last", lock=other)
            must(handler.open("last") is None, "remove() works under the lock")
        with handler.locked("last"):
            assert_refused(make(), "last")


def check_many_locks(make: Make) -> None:
    """The locks of many runs are held and released independently."""
    run_ids = [f"one of many {number}" for number in range(_MANY)]
    with fresh(make, *run_ids) as handler, contextlib.ExitStack() as stack:
        locks = {run_id: stack.enter_context(handler.locked(run_id)) for run_id in run_ids}
        for run_id in run_ids[::2]:
            store_under(locks[run_id], handler, run_id, "running")
            locks[run_id].release()
        for number, run_id in enumerate(run_ids):
            must(locks[run_id].held == bool(number % 2), "each lock is released on its own")
            if number % 2:
                assert_refused(make(), run_id)
            else:
                with make().locked(run_id):
                    pass
    left = [run_id for run_id in run_ids if handler.header(run_id) is not None]
    must(not left, "a lock alone leaves nothing stored")


LOCK_CHECKS: tuple[Check, ...] = (
    check_lock,
    check_one_of_many,
    check_held,
    check_lock_given_back,
    check_lock_file_deleted,
    check_without_lock,
    check_last_snapshot,
    check_many_locks,
)
"""Each check is called with `make`, see `check_handler`."""
