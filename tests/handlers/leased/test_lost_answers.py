"""A store that fails at any point changes nothing of the outcome: requests are repeated."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leased_processes import (
    HandClock,
    LeasedProcess,
    beside_rows,
    call,
    held_by,
    lease_of,
    release,
    rows_of,
)
from memory_store import MemoryServer

from aiocheckpoint.handlers.leased import QueuedColumns, QueuedRow

if TYPE_CHECKING:
    from collections.abc import Collection

    from memory_store import Fault

    from aiocheckpoint.handlers.leased import StoreConnection

QUEUED = QueuedColumns(b"f", 0, "a", 1, "queued", 1, 0.0)


def tell_story(server: MemoryServer, keep: Any) -> list[Any]:  # noqa: ANN401 - as a handler takes it
    """Let a process do one of everything. Give the outcomes, and what it holds in the end."""
    process = LeasedProcess(server)
    one, other, third = lease_of("one", keep), lease_of("other"), lease_of("third", keep)
    seen = process.carry_out(
        process.claim(one, process.snapshot(one, "running", 0)), process.claim(other)
    )
    for number in range(1, 4):
        seen += process.carry_out(process.save(one, "running", number, b"progress"))
    seen += process.carry_out(process.save(one, "failed", 4), release(other))
    again = lease_of("one", keep)
    seen += process.carry_out(process.claim(again, process.snapshot(again, "running", 0)))
    seen += process.carry_out(
        call(lambda connection: connection.write_ending((b"f", b"one"), '"end"\n'))
    )
    seen += process.carry_out(process.save(again, "stopped", 5), process.claim(third))
    seen += process.carry_out(call(insert_two), process.save(third, "running", 1))
    for number in range(2, 5):
        seen += process.carry_out(process.save(third, "running", number))
    refused = lease_of("one")
    seen += process.carry_out(process.claim(refused), process.claim(lease_of("one")))
    refused.is_refused = True
    seen += process.carry_out(release(refused), call(process.processor.note_draining))
    seen += process.carry_out(call(process.processor.expire_dead))
    process.processor.on_idle()
    held = held_by(process, [one, other, again, third, refused])
    return [*seen, held, one.start, again.start, again.ending, refused.ending]


def insert_two(connection: StoreConnection) -> set[int]:
    """Queue two runs, one of which is there already."""
    rows = [QueuedRow(name, 7.0, b"footer", b"payload") for name in (b"one", b"queued")]
    return connection.insert_queued(QUEUED, rows)


class Failing:
    """Lets the events with some numbers fail."""

    def __init__(self, points: Collection[int]) -> None:
        """Count from 0."""
        self._left = set(points)
        self._count = itertools.count()
        self.failed = 0

    def __call__(self, _: Fault) -> bool:
        """Whether this event fails."""
        fails = next(self._count) in self._left
        self.failed += fails
        return fails

    @property
    def events(self) -> int:
        """How many there were."""
        return next(self._count)


def story_with(points: Collection[int], keep: Any = 1) -> tuple[list[Any], Failing]:  # noqa: ANN401
    """Tell the story while some events fail. Give what came of it."""
    server = MemoryServer(HandClock())
    failing = server.decide = Failing(points)
    return [tell_story(server, keep), rows_of(server), beside_rows(server)], failing


@pytest.mark.parametrize("keep", [1, 3, "all"])
def test_one_failure_at_each_point(keep: Any) -> None:  # noqa: ANN401 - as a handler takes it
    """Whichever statement, commit or answer is lost, all ends as without the loss."""
    expected, whole = story_with((), keep)
    count = whole.events
    assert count > 50
    for point in range(count):
        found, failing = story_with([point], keep)
        assert failing.failed == 1
        assert found == expected, point


@settings(deadline=None, max_examples=150)
@given(st.sets(st.integers(0, 120), max_size=12))
def test_several_failures(points: set[int]) -> None:
    """Any number of losses changes nothing either."""
    expected, _ = story_with(())
    found, _ = story_with(points)
    assert found == expected
