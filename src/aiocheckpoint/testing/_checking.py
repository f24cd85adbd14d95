"""What the checks of state handlers have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import LeaseLostError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint.handlers import Lock, StateHandler

__all__ = [
    "ODD_IDS",
    "Check",
    "Make",
    "assert_lost",
    "assert_refused",
    "bytes_of",
    "fresh",
    "is_stored",
    "must",
    "store",
    "store_under",
]

Make = Callable[[], "StateHandler"]
Check = Callable[[Make], None]

ODD_IDS = (
    *("order-42", "a", "A", "../up", "/absolute", "a/b", "a\\b", "CON", "*", "a b", "a.b", "%41"),
    *("caf\u00e9", "cafe\u0301", "line\nbreak", "nul\0", "\ud800", "x" * 300, "x" * 301),
)


def must(holds: object, rule: str) -> None:
    """Assert, also where Python runs without assertions."""
    if not holds:
        raise AssertionError(rule)


@contextlib.contextmanager
def fresh(make: Make, *run_ids: str | None) -> Generator[StateHandler, None, None]:
    """Give a handler with nothing stored of some runs, before and after."""
    handler = make()
    _clear(handler, run_ids)
    try:
        yield handler
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to be seen
            _clear(handler, run_ids)
        raise
    _clear(handler, run_ids)


def _clear(handler: StateHandler, run_ids: tuple[str | None, ...]) -> None:
    for run_id in run_ids:
        handler.remove(run_id)


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
    """Store a small state with a header that says `status` and `facts`, and give that."""
    with handler.locked(run_id) as lock:
        return store_under(lock, handler, run_id, status, **facts)


def store_under(
    lock: Lock | None,
    handler: StateHandler,
    run_id: str | None,
    status: Status = "finished",
    **facts: Any,  # noqa: ANN401 - fields of a header, of many types
) -> Header:
    """Do as `store`, under a lock that is held, or none."""
    header = handler.patched(handler.header(run_id), run_id, 0 if status == "finished" else 1)
    header = replace(header, status=status, **facts)
    emit = partial(handler.codec.write, header, {"n": header.sequence}, None)
    return handler.replace(run_id, emit, lock=lock)[0]


def is_stored(handler: StateHandler, header: Header) -> bool:
    """Whether a header is that of the newest snapshot of its run."""
    found = handler.header(header.run_id)
    return found is not None and replace(found, signed_by=header.signed_by) == header


def assert_refused(handler: StateHandler, run_id: str | None) -> None:
    """See that a lock that somebody has is given to nobody else."""
    lock = handler.lock(run_id)
    try:
        lock.acquire()
    except RunInProgressError:
        must(not lock.held, "a lock that was refused is not held")
        return
    lock.release()
    must(holds=False, rule="a run that has an owner gets no second one")


def assert_lost(lock: Lock, handler: StateHandler, run_id: str, when: str) -> None:
    """See that nothing can be changed under a lock that is not held any more."""
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
