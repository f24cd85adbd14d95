"""Helpers of the checks of state handlers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from unittest import SkipTest

from aiocheckpoint.errors import LeaseLostError, RunInProgressError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._faults import Faults

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint.handlers import Lock, StateHandler
__all__ = [
    "ODD_IDS",
    "Check",
    "HandlerCheck",
    "Make",
    "assert_lost",
    "assert_refused",
    "bytes_of",
    "emptied",
    "fault",
    "fresh",
    "is_stored",
    "must",
    "not_checked",
    "store",
    "store_under",
    "unowned",
]

Make = Callable[[], "StateHandler"]
Check = Callable[[Make], None]


class HandlerCheck(Protocol):
    """One check of `HANDLER_CHECKS`, a function."""

    __name__: str

    def __call__(self, make: Callable[[], StateHandler], faults: Faults | None = None) -> None:
        """Check a handler.

        Args:
            make: As for `check_handler`.
            faults: As for `check_handler`.

        Raises:
            AssertionError: The check failed. The message is the rule.
            unittest.SkipTest: The check cannot be made. The message is the reason. pytest and
                unittest report it as a skip.
        """
        ...


ODD_IDS = (
    *("order-42", "a", "A", "../up", "/absolute", "a/b", "a\\b", "CON", "*", "a b", "a.b", "%41"),
    *("caf\u00e9", "cafe\u0301", "line\nbreak", "nul\0", "\ud800", "x" * 300, "x" * 301),
)


def must(holds: object, rule: str) -> None:
    """Assert a rule, also where Python runs without assertions."""
    if not holds:
        raise AssertionError(rule)


def not_checked(reason: str) -> SkipTest:
    """Make the exception of a check that cannot be made, which pytest and unittest know as a skip.

    Args:
        reason: Why, and what would make it possible.
    """
    return SkipTest(reason)


def fault(faults: Faults | None, name: str, why: str = "") -> Callable[..., Any]:
    """Give a method of the author's faults.

    Args:
        faults: The faults, or None.
        name: The method.
        why: What follows from its lack.

    Raises:
        SkipTest: It is missing.
    """
    method = getattr(faults, name, None)
    if method is None or getattr(type(faults), name, None) is getattr(Faults, name):
        raise not_checked(f"faults.{name}() is missing{why and ', '}{why}")
    return method  # type: ignore[no-any-return]


@contextlib.contextmanager
def fresh(make: Make, *run_ids: str | None) -> Generator[StateHandler, None, None]:
    """Give a handler, with nothing stored of the given runs before and after."""
    handler = make()
    _clear(handler, run_ids)
    try:
        yield handler
    except BaseException:
        with contextlib.suppress(Exception):  # The first error counts.
            _clear(handler, run_ids)
        raise
    _clear(handler, run_ids)


def _clear(handler: StateHandler, run_ids: tuple[str | None, ...]) -> None:
    for run_id in run_ids:
        handler.remove(run_id)


def emptied(make: Make, *run_ids: str | None) -> AbstractContextManager[StateHandler]:
    """Give a handler on an empty store. The given runs are deleted afterwards."""
    return fresh(make, *{*(header.run_id for header in make().runs(Query())), *run_ids})


def bytes_of(handler: StateHandler, run_id: str | None) -> bytes | None:
    """The newest snapshot of a run, byte for byte."""
    file = handler.open(run_id)
    if file is None:
        return None
    with file:
        return file.read()


def store(
    handler: StateHandler,
    run_id: str | None,
    status: Status = "finished",
    **facts: Any,  # noqa: ANN401 - fields of a header, of many types
) -> Header:
    """Store a small state, and return its header, with `status` and `facts` in it."""
    with handler.locked(run_id) as lock:
        return store_under(lock, handler, run_id, status, **facts)


def store_under(
    lock: Lock | None,
    handler: StateHandler,
    run_id: str | None,
    status: Status = "finished",
    **facts: Any,  # noqa: ANN401 - fields of a header, of many types
) -> Header:
    """Do as `store`, under a lock that is held, or without one."""
    header = handler.patched(handler.header(run_id), run_id, 0 if status == "finished" else 1)
    header = replace(header, status=status, **facts)
    write_to = partial(handler.codec.write, header, {"n": header.sequence}, None)
    return handler.replace(run_id, write_to, lock=lock)[0]


def unowned(make: Make) -> list[str | None]:
    """The ids of the runs that recovery may take, as they are listed."""
    headers = make().runs(Query(unowned=True, due_before=time.time()))
    return [header.run_id for header in headers]


def is_stored(handler: StateHandler, header: Header) -> bool:
    """Whether a header is in the newest snapshot of its run."""
    found = handler.header(header.run_id)
    return found is not None and replace(found, signed_by=header.signed_by) == header


def assert_refused(handler: StateHandler, run_id: str | None) -> None:
    """Check that a held lock cannot be acquired again."""
    lock = handler.lock(run_id)
    try:
        lock.acquire()
    except RunInProgressError:
        must(not lock.held, "a lock that was refused is not held")
        return
    lock.release()
    must(holds=False, rule="a run that has an owner gets no second one")


def assert_lost(lock: Lock, handler: StateHandler, run_id: str, when: str) -> None:
    """Check that a lock that is no longer held allows no change."""
    before = bytes_of(handler, run_id)
    deeds: tuple[tuple[str, Callable[[], object]], ...] = (
        ("replace", lambda: store_under(lock, handler, run_id, "running")),
        ("replace", lambda: store_under(lock, handler, run_id)),
        ("remove", lambda: handler.remove(run_id, lock=lock)),
    )
    for name, deed in deeds:
        lost = False
        try:
            deed()
        except LeaseLostError:
            lost = True
        must(lost, f"{name}() raises LeaseLostError under a lock that was {when}")
        same = bytes_of(handler, run_id) == before
        must(same, f"{name}() changes nothing under a lock that was {when}")
