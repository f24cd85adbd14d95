"""Which runs a filter chooses, by their headers."""

import pytest

from aiocheckpoint import Header
from aiocheckpoint._model.header import Failure
from aiocheckpoint.handlers import RunFilter

BROKEN = Failure(
    step="charge",
    part="step",
    type="httpx.ConnectTimeout",
    message="",
    traceback="",
    at=5.0,
    seconds=1.0,
    attempt=3,
)
HEADER = Header(
    flow="orders",
    run_id="order-42",
    steps=("reserve", "charge"),
    position=1,
    status="failed",
    failure=BROKEN,
    written_at=10.0,
)


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(),
        pytest.param(RunFilter(statuses=frozenset({"failed", "paused"})), id="two statuses"),
        RunFilter(steps=frozenset({"charge"})),
        RunFilter(error="*Timeout"),
        RunFilter(error="httpx.*"),
        RunFilter(error="ConnectTimeout"),
        RunFilter(error="Connect[ST]*"),
        RunFilter(error="httpx.[BC]*"),
        RunFilter(ids="order-??"),
        RunFilter(ids="order-[!a-z]2"),
        RunFilter(since=10.0, before=10.5),
        RunFilter(tries=3),
    ],
    ids=str,
)
def test_a_run_with_all_that_is_asked_for_is_chosen(where: RunFilter) -> None:
    """Each condition alone lets a fitting run through."""
    assert where.wants(HEADER)


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(statuses=frozenset({"paused"})),
        RunFilter(steps=frozenset({"reserve"})),
        RunFilter(error="*timeout"),
        RunFilter(error="Connect"),
        RunFilter(error="httpx"),
        RunFilter(error=".ConnectTimeout"),
        RunFilter(ids="42"),
        RunFilter(ids="Order-*"),
        RunFilter(since=10.5),
        RunFilter(before=10.0),
        RunFilter(tries=4),
        RunFilter(stale=True),
        RunFilter(steps=frozenset({"charge"}), tries=4),
    ],
    ids=str,
)
def test_a_run_that_lacks_one_of_them_is_not(where: RunFilter) -> None:
    """One condition that fails is enough."""
    assert not where.wants(HEADER)


def test_the_run_without_an_id_and_one_that_did_not_break_fit_no_pattern() -> None:
    """Patterns are about texts that are there."""
    plain = Header(flow="orders", position=0, steps=("reserve",))
    assert not RunFilter(ids="*").wants(plain)
    assert not RunFilter(error="*").wants(plain)


def test_stale_are_the_running_runs_without_an_owner() -> None:
    """A living owner makes a running run one in progress."""
    running = Header(flow="orders", position=0, status="running")
    owned = Header(flow="orders", position=0, status="running", owner="process 1 on web-1")
    assert RunFilter(stale=True).wants(running)
    assert not RunFilter(stale=True).wants(owned)


@pytest.mark.parametrize(
    ("header", "tries"),
    [
        (HEADER, 3),
        (Header(flow="", position=0, status="queued"), 0),
        (Header(flow="", position=0, status="finished", steps=("reserve",)), 0),
        (Header(flow="", position=0, status="running", steps=("reserve",)), 1),
        (Header(flow="", position=0, status="paused", attempts={"reserve": 2}), 1),
        (Header(flow="", position=0, steps=("reserve",), attempts={"reserve": 2}), 2),
        (Header(flow="", position=1, status="stopped", steps=("a", "b"), failure=BROKEN), 0),
        (Header(flow="", position=1, status="failed", failure=BROKEN), 3),
        (Header(flow="", position=0, status="terminated", terminated_by="step"), 1),
        (Header(flow="", position=0, status="terminated", terminated_by="hand"), 0),
    ],
    ids=lambda value: f"{value.status}-{value.position}" if isinstance(value, Header) else None,
)
def test_tries_are_the_attempts_at_the_step_where_a_run_stands(header: Header, tries: int) -> None:
    """A failure and the record of attempts both count, where they are of that step."""
    assert header.tries == tries
