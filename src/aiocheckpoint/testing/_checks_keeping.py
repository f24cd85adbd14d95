"""Checks of the retained snapshots of a run, for every state handler that keeps more than one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.testing._checking import fresh, must, not_checked, store_under

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers import Lock, StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["KEEPING_CHECKS"]

_MORE = 3
"""How many more snapshots are stored than are kept."""


def check_keep(make: Make) -> None:
    """As many snapshots of a run are kept as `keep` says, and each is read back."""
    keep = _kept_number(make)
    with fresh(make, "keep", "beside") as handler:
        count = _MORE if keep == "all" else keep + _MORE
        with handler.locked("keep") as lock, handler.locked("beside") as other:
            headers = [store_under(lock, handler, "keep", "running") for _ in range(count)]
            store_under(other, handler, "beside", "running")
            expected = headers if keep == "all" else headers[-keep:]
            _assert_kept(make, expected, f"keep={keep!r} keeps the newest {len(expected)}")
            later = [_next_run(lock, handler, headers[-1]) for _ in range(2)]
            expected = later if keep == "all" else [*headers, *later][-keep:]
            _assert_kept(make, expected, f"keep={keep!r} counts snapshots of the run before")
        handler.remove("keep")
        must(not make().kept("keep"), "remove() deletes the retained snapshots as well")


def check_amended_snapshot(make: Make) -> None:
    """A snapshot that amends another one replaces it in the history."""
    keep = _kept_number(make)
    with fresh(make, "amended") as handler, handler.locked("amended") as lock:
        headers = [store_under(lock, handler, "amended", "running") for _ in range(_MORE)]
        amended = headers[-1]
        amending = handler.patched(amended, "amended", 1)
        amending = replace(amending, status="running")
        write_to = partial(handler.codec.write, amending, {"n": amending.sequence}, None)
        amending, _ = handler.replace("amended", write_to, amended, lock=lock)
        expected = [*headers[:-1], amending]
        expected = expected if keep == "all" else expected[-keep:]
        _assert_kept(make, expected, "amends= replaces the amended snapshot in the history")
        following = store_under(lock, handler, "amended", "running")
        expected = [*expected, following]
        expected = expected if keep == "all" else expected[-keep:]
        _assert_kept(make, expected, "the snapshot behind an amended one keeps what is older")


def _kept_number(make: Make) -> Any:  # noqa: ANN401 - a number or "all"
    keep = getattr(make(), "keep", 1)
    if keep == 1:
        raise not_checked("its handlers keep one snapshot: make them with keep=3, or keep='all'")
    return keep


def _next_run(lock: Lock, handler: StateHandler, before: Header) -> Header:
    """Store a snapshot of the next run of the same id."""
    return store_under(lock, handler, before.run_id, "running", number=before.number + 1)


def _assert_kept(make: Make, expected: list[Header], rule: str) -> None:
    """Check that the newest and the retained snapshots of a run are the expected ones."""
    handler, newest = make(), expected[-1]
    header = handler.header(newest.run_id)
    must(header is not None and header.sequence == newest.sequence, "the newest is the last stored")
    retained = {*handler.kept(newest.run_id), (newest.number, newest.sequence)}
    wanted = {(one.number, one.sequence) for one in expected}
    must(retained == wanted, f"{rule}: {sorted(wanted)}, not {sorted(retained)}")
    for number, sequence in wanted - {(newest.number, newest.sequence)}:
        with handler.stored(newest.run_id, (number, sequence)) as found:
            state = None if found is None else found.state()
        must(state is not None and state["n"] == sequence, f"{rule}, each with its state")


KEEPING_CHECKS: tuple[Check, ...] = (check_keep, check_amended_snapshot)
"""Each check is called with `make`, see `check_handler`."""
