"""Checks of the fence: the store itself refuses an owner that has lost its run."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.testing._checking import (
    bytes_of,
    fault,
    fresh,
    must,
    not_checked,
    store_under,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint.handlers import Lock, StateHandler
    from aiocheckpoint.testing._checking import HandlerCheck, Make
    from aiocheckpoint.testing._faults import Faults

__all__ = ["FENCE_CHECKS", "assert_fenced", "saying_held"]


def check_fence(make: Make, faults: Faults | None = None) -> None:
    """A lock that was released allows no change, even where its `held` says yes."""
    del faults
    with fresh(make, "fence") as handler:
        lock = _begun(handler, "fence")
        lock.release()
        with saying_held(lock):
            assert_fenced(lock, handler, "fence", "released, though held says yes")
            with make().locked("fence") as other:
                store_under(other, make(), "fence", "running")
                when = "released and taken by another owner, though held says yes"
                assert_fenced(lock, handler, "fence", when)
                must(other.held, "a lock that was taken is held")
                store_under(other, make(), "fence", "running")


def check_stolen_lease(make: Make, faults: Faults | None = None) -> None:
    """An owner whose run was taken away can change nothing of it."""
    steal = fault(faults, "steal")
    with fresh(make, "stolen") as handler:
        lock = _begun(handler, "stolen")
        steal("stolen")
        with saying_held(lock):
            assert_fenced(lock, handler, "stolen", "stolen")
            with make().locked("stolen") as other:
                store_under(other, make(), "stolen", "running")
                assert_fenced(lock, handler, "stolen", "stolen and taken by another owner")
                store_under(other, make(), "stolen", "running")
        with make().locked("stolen") as other:
            lock.release()
            must(other.held, "releasing a lost lock takes nothing from the new owner")
            store_under(other, make(), "stolen", "running")


def check_stolen_run(make: Make, faults: Faults | None = None) -> None:
    """A run that was taken away stops at its next snapshot, and the next owner goes on with it."""
    steal = fault(faults, "steal")
    with fresh(make, "robbed") as handler:
        thief = handler.lock("robbed")

        def rob() -> None:
            steal("robbed")
            thief.acquire()

        trail: list[str] = []
        lost = _is_refused(
            lambda: asyncio.run(_flow(make(), trail, rob).arun({"n": 1}, run_id="robbed"))
        )
        must(lost, "a run that was taken away raises LeaseLostError at its next snapshot")
        must(trail == ["first", "robbed"], "and begins no further step")
        must(thief.held, "and takes nothing from its next owner")
        thief.release()
        asyncio.run(_flow(make(), trail, None).arun({"n": 1}, run_id="robbed"))
        expected = ["first", "robbed", "robbed", "last"]
        must(trail == expected, "the next owner goes on behind the last snapshot")
        header = make().header("robbed")
        must(header is not None and header.finished, "and ends the run")


def _flow(
    handler: StateHandler, trail: list[str], inside: Callable[[], None] | None
) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)

    @cp.add_step()
    async def first(_state: dict[str, Any]) -> None:
        trail.append("first")

    @cp.add_step()
    def robbed(_state: dict[str, Any]) -> None:
        trail.append("robbed")
        if inside is not None:
            inside()

    @cp.add_step()
    def last(_state: dict[str, Any]) -> None:
        trail.append("last")

    return cp


def _begun(handler: StateHandler, run_id: str) -> Lock:
    """Take a run, and store something of each kind that is stored of it."""
    lock = handler.lock(run_id)
    lock.acquire()
    store_under(lock, handler, run_id, "running")
    handler.write_progress(run_id, b"progress", lock=lock)
    handler.write_ending(run_id, "asked")
    return lock


@contextlib.contextmanager
def saying_held(lock: Lock) -> Generator[None, None, None]:
    """Let `held` of a lock be true for the time of a `with` block, as of an owner that sleeps.

    Raises:
        SkipTest: The class of the lock allows no subclass.
    """
    kind: Any = type(lock)
    held = property(lambda _: True, lambda _, __: None)
    anything: Any = lock
    try:
        anything.__class__ = type(kind.__name__, (kind,), {"__slots__": (), "held": held})
    except TypeError as error:
        raise not_checked(f"the class of its locks can have no other `held`: {error}") from None
    try:
        yield
    finally:
        anything.__class__ = kind


def assert_fenced(lock: Lock, handler: StateHandler, run_id: str, when: str) -> None:
    """Check that the store refuses every change under a lock that was lost.

    Args:
        lock: The lock.
        handler: The handler that made it.
        run_id: Its run.
        when: What became of the lock.
    """
    deeds: dict[str, Callable[[], object]] = {
        "replace() of a running run": lambda: store_under(lock, handler, run_id, "running"),
        "replace() at the end of a run": lambda: store_under(lock, handler, run_id),
        "remove()": lambda: handler.remove(run_id, lock=lock),
    }
    may_be_silent: dict[str, Callable[[], object]] = {
        "write_progress()": lambda: handler.write_progress(run_id, b"late", lock=lock),
        "write_progress(None)": lambda: handler.write_progress(run_id, None, lock=lock),
        "clear_ending()": lambda: handler.clear_ending(run_id, lock),
    }
    before = _stored(handler, run_id)
    for name, deed in (deeds | may_be_silent).items():
        is_refused = _is_refused(deed) or name in may_be_silent
        must(is_refused, f"{name} raises LeaseLostError under a lock that was {when}")
        same = _stored(handler, run_id) == before
        must(same, f"{name} changes nothing under a lock that was {when}")


def _is_refused(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except LeaseLostError:
        return True
    return False


def _stored(handler: StateHandler, run_id: str) -> tuple[object, ...]:
    """All that is stored of a run."""
    return (
        bytes_of(handler, run_id),
        handler.kept(run_id),
        handler.read_progress(run_id),
        handler.read_ending(run_id),
    )


FENCE_CHECKS: tuple[HandlerCheck, ...] = (check_fence, check_stolen_lease, check_stolen_run)
"""Each check is called with `make` and `faults`, see `check_handler`."""
