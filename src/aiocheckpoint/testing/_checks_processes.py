"""Checks with several processes on one store, for every state handler that processes share."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from aiocheckpoint.testing._checking import (
    assert_refused,
    bytes_of,
    fresh,
    must,
    not_checked,
    store,
    store_under,
    unowned,
)
from aiocheckpoint.testing._leases import (
    assert_kept,
    assert_soon,
    assert_succeeded,
    lease_of,
    short_lease,
)
from aiocheckpoint.testing._other_process import OtherProcess

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import HandlerCheck, Make
    from aiocheckpoint.testing._faults import Faults

__all__ = ["PROCESS_CHECKS", "sharing"]

_ROUNDS = 10


def check_race(make: Make, faults: Faults | None = None) -> None:
    """One of two processes that ask for a run at once gets it, again and again."""
    del faults
    with sharing(make, "race") as (handler, first), OtherProcess(make) as second:
        for number in range(_ROUNDS):
            for process in (first, second):
                process.send("acquire", "race")
            got = [process for process in (first, second) if process.receive()]
            must(len(got) == 1, f"one of two processes gets the run, not {len(got)}")
            assert_refused(handler, "race")
            must(got[0].ask("store", "race"), "the process that has the run stores a snapshot")
            header = make().header("race")
            stored = header is not None and header.sequence == number + 1
            must(stored, "each process goes on with the last snapshot of the other one")
            got[0].ask("release", "race")


def check_fork(make: Make, faults: Faults | None = None) -> None:
    """A forked child does not hold its parent's lock, and its end does not release it."""
    del faults
    if not hasattr(os, "fork"):
        raise not_checked("this system has no fork")
    with fresh(make, "fork", "fork by a child"), OtherProcess(make) as parent:
        must(parent.ask("acquire", "fork"), "a process takes a free run")
        must(parent.ask("store", "fork"), "and stores a snapshot")
        seen = parent.ask("fork", "fork")
        must(not seen["held"], "a forked child does not hold its parent's lock")
        must(not seen["stored"], "a forked child stores nothing under its parent's lock")
        taken = seen["acquired"] or seen["acquired by another handler"]
        must(not taken, "a forked child is not given a run that its parent has")
        must(seen["acquired another run"], "a forked child can take a run of its own")
        must(parent.ask("held", "fork"), "a lock is held behind a fork")
        must(parent.ask("store", "fork"), "the end of a forked child takes no run from its parent")


def check_killed_owner(make: Make, faults: Faults | None = None) -> None:
    """A run of a process that was killed is free within its lease and a second, and listed so."""
    del faults
    lease = lease_of(make) or 0.0
    with sharing(make, "killed", "killed too") as (handler, owner):
        for run_id in ("killed", "killed too"):
            must(owner.ask("acquire", run_id), "a process takes a free run")
            must(owner.ask("store", run_id), "and stores a snapshot")
            assert_refused(handler, run_id)
        owner.kill()
        lock = assert_succeeded(make(), "killed", lease, "killed")
        rule = "unowned= lists the run of an owner that was killed"
        assert_soon(lambda: "killed too" in unowned(make), lease, rule)
        store_under(lock, make(), "killed", "running")
        header = make().header("killed")
        behind = header is not None and header.sequence == 2  # noqa: PLR2004
        must(behind, "the run of a killed process goes on behind its last snapshot")
        lock.release()


def check_stopped_owner(make: Make, faults: Faults | None = None) -> None:
    """A stopped process loses its run behind its lease, and stores nothing when it wakes."""
    del faults
    if sys.platform != "linux":
        raise not_checked("stopped processes are looked at on Linux alone")
    lease = short_lease(make)
    with sharing(make, "stopped") as (handler, owner):
        must(owner.ask("acquire", "stopped"), "a process takes a free run")
        must(owner.ask("store", "stopped"), "and stores a snapshot")
        owner.stop()
        lock = assert_succeeded(make(), "stopped", lease, "stopped")
        store_under(lock, make(), "stopped", "running")
        before = bytes_of(handler, "stopped")
        owner.wake()
        must(not owner.ask("store", "stopped"), "an owner that wakes raises LeaseLostError")
        must(bytes_of(handler, "stopped") == before, "and changes nothing")
        owner.ask("release", "stopped")
        must(lock.held, "and takes nothing from its successor")
        store_under(lock, make(), "stopped", "running")
        lock.release()


def check_living_owner(make: Make, faults: Faults | None = None) -> None:
    """A living owner keeps its run for longer than its lease."""
    del faults
    lease = short_lease(make)
    if not make().outlives_process:
        with fresh(make, "living") as handler, handler.locked("living") as lock:
            assert_kept(make(), "living", 2 * lease + 1.0)
            store_under(lock, handler, "living", "running")
        return
    with sharing(make, "living") as (handler, owner):
        must(owner.ask("acquire", "living"), "a process takes a free run")
        assert_kept(handler, "living", 2 * lease + 1.0)
        must(owner.ask("store", "living"), "a living owner stores a snapshot behind its lease")


@contextlib.contextmanager
def sharing(make: Make, *run_ids: str) -> Generator[tuple[StateHandler, OtherProcess], None, None]:
    """Give a handler, and another process of the same store.

    Raises:
        SkipTest: No other process finds the runs of this one.
    """
    if not make().outlives_process:
        raise not_checked("its snapshots are of this process alone")
    with fresh(make, *run_ids, "shared") as handler, OtherProcess(make) as process:
        store(handler, "shared")
        if not process.ask("reads", "shared"):
            raise not_checked("make makes handlers of another store in another process")
        yield handler, process


PROCESS_CHECKS: tuple[HandlerCheck, ...] = (
    check_race,
    check_fork,
    check_killed_owner,
    check_stopped_owner,
    check_living_owner,
)
"""Each check is called with `make` and `faults`, see `check_handler`."""
