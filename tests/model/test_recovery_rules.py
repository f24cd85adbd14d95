"""Recovery decides under the lock of a run whether it takes it, and whether it ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import Header
from aiocheckpoint._model.recovery import LeftAloneError, Recovery, is_suspect
from aiocheckpoint._model.start_record import ClaimedStart, StartRecord

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status

NOW = 1_000.0
STORED = Header(
    flow="f",
    run_id="x",
    position=1,
    steps=("a", "b"),
    number=1,
    sequence=4,
    status="failed",
    due=900.0,
)
BEGUN: frozenset[Status] = frozenset({"running", "stopped", "paused", "failed", "cancelled"})


def _has_begun(header: Header) -> bool:
    return header.status in BEGUN


def recovery(**facts: Any) -> Recovery:  # noqa: ANN401
    """How `aresume_all` takes that run, but for these facts."""
    given: dict[str, Any] = {"listed": STORED, "wants": _has_begun, "starts": 10}
    return Recovery(**{**given, **facts})


def start(starts: int = 2, killed: int = 0, *, was_running: bool = False) -> ClaimedStart:
    """The start that a claim has counted."""
    return ClaimedStart(StartRecord(1, 1, 4, starts, killed), was_running)


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({}, True),
        ({"due": 1_000.0}, True),
        ({"due": 1_000.5}, False),
        ({"due": None}, True),
        ({"status": "cancelled", "due": 1_001.0}, False),
        ({"status": "paused", "due": None}, False),
        ({"status": "paused"}, True),
        ({"status": "running", "due": None}, True),
        ({"status": "stopped", "due": None, "stopped_by": "drain"}, True),
        ({"status": "stopped", "due": None, "stopped_by": "patch"}, False),
        ({"status": "queued", "due": None}, False),
        ({"status": "terminated", "due": None}, False),
        ({"status": "finished", "position": 0}, False),
    ],
    ids=str,
)
def test_what_is_due_is_taken(changes: dict[str, Any], takes: bool) -> None:  # noqa: FBT001
    """Whatever the list has said, the stored header decides."""
    stored = replace(STORED, **changes)
    if takes:
        recovery().check(stored, start(), NOW)
    else:
        with pytest.raises(LeftAloneError) as info:
            recovery().check(stored, start(), NOW)
        assert not info.value.is_suspect


def test_a_deleted_run_is_left_alone() -> None:
    """There is nothing to take."""
    with pytest.raises(LeftAloneError):
        recovery().check(None, None, NOW)


def test_a_run_that_was_claimed_and_killed_is_due() -> None:
    """The header says "failed" and due later. But the run was started since, and killed."""
    stored = replace(STORED, due=NOW + 500)
    recovery().check(stored, start(was_running=True), NOW)


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({}, True),
        ({"due": NOW + 500}, True),
        ({"status": "stopped", "due": None, "stopped_by": "until"}, True),
        ({"sequence": 5}, False),
        ({"number": 2}, False),
        ({"status": "finished"}, False),
    ],
    ids=str,
)
def test_by_hand_it_is_the_listed_one(changes: dict[str, Any], takes: bool) -> None:  # noqa: FBT001
    """A chosen run is taken whether due or not, if nobody has had it since."""
    stored = replace(STORED, **changes)
    if takes:
        recovery(by_hand=True).check(stored, start(), NOW)
    else:
        with pytest.raises(LeftAloneError):
            recovery(by_hand=True).check(stored, start(), NOW)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(("killed", "alone"), [(0, False), (1, False), (2, True), (5, True)])
def test_suspects_are_taken_alone(killed: int, alone: bool, by_hand: bool) -> None:  # noqa: FBT001
    """A run whose process was killed twice at its step waits until it can be taken alone."""
    assert is_suspect(replace(STORED, killed=killed)) is alone
    recovery(alone=True, by_hand=by_hand).check(STORED, start(killed=killed), NOW)
    if not alone:
        recovery(by_hand=by_hand).check(STORED, start(killed=killed), NOW)
        return
    with pytest.raises(LeftAloneError) as info:
        recovery(by_hand=by_hand).check(STORED, start(killed=killed), NOW)
    assert info.value.is_suspect


NEVER_PAST_IT = "it was started 10 times at step 'b', and never got past it"


@pytest.mark.parametrize(
    ("facts", "counted", "reason"),
    [
        ({}, start(10), None),
        ({}, start(11), NEVER_PAST_IT),
        ({}, start(11, killed=2), f"{NEVER_PAST_IT}. Its process was killed in 2 of these"),
        ({"starts": 1}, start(1), None),
        ({"starts": 1}, start(2), "it was started once at step 'b', and never got past it"),
        ({}, start(5, killed=4), None),
        ({}, start(6, killed=5), "its process was killed 5 times at step 'b'"),
        ({"starts": 3}, start(6, killed=5), "its process was killed 5 times at step 'b'"),
        ({"starts": None}, start(50, killed=20), None),
        ({"by_hand": True}, start(50, killed=20), None),
        ({}, None, None),
    ],
    ids=str,
)
def test_what_is_ended(
    facts: dict[str, Any], counted: ClaimedStart | None, reason: str | None
) -> None:
    """The starts before this one count, and the kills up to now."""
    assert recovery(**facts).reason_to_terminate(STORED, counted) == reason


def test_a_step_without_a_name() -> None:
    """A run whose steps are not known is named by its position."""
    stored = replace(STORED, steps=None)
    reason = recovery().reason_to_terminate(stored, start(11))
    assert reason == "it was started 10 times at position 1, and never got past it"
