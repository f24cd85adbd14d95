"""Checks of stores that are out of reach, lose an answer or crash, by the author's faults."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import CheckpointError, RunInProgressError, StorageError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._checking import (
    assert_refused,
    fault,
    fresh,
    is_stored,
    must,
    not_checked,
    store,
    store_under,
)
from aiocheckpoint.testing._checks_processes import sharing
from aiocheckpoint.testing._leases import assert_kept, short_lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import HandlerCheck, Make
    from aiocheckpoint.testing._faults import Faults

__all__ = ["OUTAGE_CHECKS"]

_SECONDS = 1.0
_LEAST_PATIENCE, _MOST_PATIENCE = 4.0, 6.0
_LOOKS, _PAUSE_SECONDS = 120, 0.5
_CRASHES, _RUNS = 3, 10
_STEPS = ("one", "two", "three")


class _BrokenError(Exception):
    """Breaks a step on purpose."""


def check_outage(make: Make, faults: Faults | None = None) -> None:
    """Runs go on through an outage that is shorter than `patience`, and nothing is lost."""
    outage = fault(faults, "outage")
    if _patience(make) < _LEAST_PATIENCE:
        raise not_checked("its handlers have no `patience` of 4 s or more")
    with fresh(make, "outage", "beside") as handler:
        trail: list[str] = []
        state = _run(make(), "outage", trail, {"two": lambda: outage(_SECONDS)})
        must(state == {"n": 3}, "a run goes on through a short outage")
        must(trail == [*_STEPS], "and repeats no step")
        outage(_SECONDS)
        headers = _ours(lambda: make().runs(Query()))
        must([one.run_id for one in headers] == ["outage"], "a list waits through a short outage")
        lock = handler.lock("beside")
        outage(_SECONDS)
        _ours(lock.acquire)
        outage(_SECONDS)
        header = _ours(lambda: store_under(lock, handler, "beside", "running"))
        must(is_stored(make(), header), "a snapshot is stored through a short outage")
        outage(_SECONDS)
        _ours(lock.release)
        try:
            with make().locked("beside"):
                pass
        except RunInProgressError as error:
            rule = "a lock that is released in an outage is free behind it"
            raise AssertionError(rule) from error


def check_long_outage(make: Make, faults: Faults | None = None) -> None:
    """An outage longer than `patience` raises a StorageError, and nothing stored is lost."""
    outage = fault(faults, "outage")
    patience = _patience(make)
    if patience > _MOST_PATIENCE:
        raise not_checked(f"{patience=:g} s is not waited for: make handlers with patience=5")
    with fresh(make, "long outage") as handler:
        header = store(handler, "long outage", "stopped")
        outage(2 * patience + _SECONDS)
        _or_refused(lambda: make().runs(Query()))
        header = _or_refused(lambda: store(handler, "long outage", "stopped")) or header
        newest = _when_back(lambda: make().header("long outage"))
        kept = newest is not None and newest.sequence >= header.sequence
        must(kept, "what was stored before an outage is there behind it")
        later = _when_back(lambda: store(handler, "long outage", "stopped"))
        must(is_stored(make(), later), "a handler stores snapshots behind a long outage")


def check_owner_in_outage(make: Make, faults: Faults | None = None) -> None:
    """A living owner keeps its run through an outage that is longer than its lease."""
    outage = fault(faults, "outage")
    lease = short_lease(make)
    if _patience(make) < lease + _LEAST_PATIENCE:
        raise not_checked("its handlers have no `patience` of 4 s more than a lease")
    with sharing(make, "kept") as (handler, owner):
        must(owner.ask("acquire", "kept"), "a process takes a free run")
        must(owner.ask("store", "kept"), "and stores a snapshot")
        outage(lease + _SECONDS)
        assert_kept(handler, "kept", lease + _SECONDS)
        _when_back(lambda: handler.header("kept"))
        assert_kept(handler, "kept", lease + _SECONDS)
        must(owner.ask("store", "kept"), "an owner stores snapshots behind an outage")


def check_lost_answers(make: Make, faults: Faults | None = None) -> None:
    """A claim, a step, an end or a release whose answer was lost is done once."""
    lose = fault(faults, "lose_answer")
    run_ids = [f"lost answer {number}" for number in range(4)]
    with fresh(make, *run_ids) as handler:
        new, resumed, steps, released = run_ids
        _assert_lost_claims(make, new, resumed, lose)
        trail: list[str] = []
        state = _run(make(), steps, trail, dict.fromkeys(_STEPS, lose))
        must(state == {"n": 3}, "a run goes on where the answer to a snapshot was lost")
        must(trail == [*_STEPS], "a step whose snapshot had a lost answer is not repeated")
        header = make().header(steps)
        must(header is not None and header.finished, "an end whose answer was lost is stored")
        lock = handler.lock(released)
        lose()
        _ours(lock.acquire)
        must(lock.held, "a lock whose answer was lost is held")
        assert_refused(make(), released)
        lose()
        _ours(lock.release)
        with make().locked(released):
            pass


def _assert_lost_claims(make: Make, new: str, resumed: str, lose: Callable[[], None]) -> None:
    starts: list[int] = []

    def note() -> None:
        starts.extend(header.starts for header in make().runs(Query(frozenset({"running"}))))

    lose()
    state = _run(make(), new, [], {"one": note})
    must(state == {"n": 3}, "a run goes on where the answer to its claim was lost")
    with suppress(_BrokenError):
        _run(make(), resumed, [], {"two": _break})
    trail: list[str] = []
    lose()
    state = _run(make(), resumed, trail, {"two": note})
    must(trail == ["two", "three"], "a claim whose answer was lost goes on with its run")
    must(starts == [1, 2], f"a claim whose answer was lost counts as one start: {starts}")
    header = make().header(resumed)
    must(header is not None and not header.killed, "and its owner as one that was not killed")


def check_crash(make: Make, faults: Faults | None = None) -> None:
    """A snapshot that was stored outlives a crash of the store."""
    crash = fault(faults, "crash_store", "and a crash alone shows whether commits are durable")
    run_ids = [f"crash {number}" for number in range(_RUNS)]
    with fresh(make, *run_ids) as handler:
        for _ in range(_CRASHES):
            headers = [_when_back(partial(store, handler, one, "stopped")) for one in run_ids]
            crash()
            lost = [one.run_id for one in headers if not _when_back(partial(_is_there, make, one))]
            must(not lost, f"a snapshot that was stored outlives a crash of the store: {lost}")


def _is_there(make: Make, header: Header) -> bool:
    return is_stored(make(), header)


def _run(
    handler: StateHandler,
    run_id: str,
    trail: list[str],
    inside: dict[str, Callable[[], None]],
) -> dict[str, Any]:
    """Run three steps, and call a function inside of some of them."""
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)
    for name in _STEPS:
        cp.add_step(name=name)(_step(name, trail, inside.get(name)))
    state: dict[str, Any] = _ours(lambda: asyncio.run(cp.arun({"n": 0}, run_id=run_id)))
    return state


def _step(
    name: str, trail: list[str], inside: Callable[[], None] | None
) -> Callable[[dict[str, Any]], None]:
    def step(state: dict[str, Any]) -> None:
        if inside is not None:
            inside()
        trail.append(name)
        state["n"] += 1

    return step


def _break() -> None:
    raise _BrokenError


def _ours(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the function
    """Call a function that has to succeed, though the store disturbs it."""
    try:
        return call()
    except CheckpointError as error:
        rule = f"what disturbs the store for a moment is waited for, and not raised: {error}"
        raise AssertionError(rule) from error
    except (AssertionError, _BrokenError):
        raise
    except Exception as error:
        raise AssertionError(_raw(error)) from error


def _or_refused(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the function
    """Call a function that may raise a `StorageError`, and give None then."""
    try:
        return call()
    except StorageError:
        return None
    except Exception as error:
        raise AssertionError(_raw(error)) from error


def _raw(error: Exception) -> str:
    kind = type(error).__name__
    return f"an error of the store's driver comes out as StorageError, not as {kind}: {error}"


def _when_back(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the function
    """Call a function again and again, until the store answers."""
    for _ in range(_LOOKS):
        with suppress(StorageError):
            return call()
        time.sleep(_PAUSE_SECONDS)
    raise AssertionError("a handler uses its store again behind an outage")


def _patience(make: Make) -> float:
    patience: float = getattr(make(), "patience", 0.0)
    return patience


OUTAGE_CHECKS: tuple[HandlerCheck, ...] = (
    check_outage,
    check_long_outage,
    check_owner_in_outage,
    check_lost_answers,
    check_crash,
)
"""Each check is called with `make` and `faults`, see `check_handler`."""
