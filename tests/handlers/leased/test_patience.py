"""Requests and reads wait for a store that is out of reach, for so long and no longer."""

from __future__ import annotations

import logging

import pytest

from aiocheckpoint import StoreUnreachableError
from aiocheckpoint._concurrency.giving_up import StoreCall
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._concurrency.withdrawable_results import WithdrawableResult
from aiocheckpoint.handlers.leased._patience import Patience

PLACE = "postgresql://db.example:5432/orders"


class SteppedClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """The present second."""
        return self.now

    def time(self) -> float:
        """The same."""
        return self.now

    def sleep(self, seconds: float, /) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds


def request() -> PendingResult[None]:
    """Make a request of a blocked thread."""
    return PendingResult(None, None)


def refusal(problem: str = "connection refused") -> StoreUnreachableError:
    """The failure of one try."""
    return StoreUnreachableError(PLACE, problem)


def try_until_over(
    patience: Patience, clock: SteppedClock, group: list[PendingResult[None]]
) -> int:
    """Try the requests of a store that never answers, and give the number of tries."""
    for number in range(1, 1000):
        waiting = [pending for pending in group if pending.error is None]
        pause = patience.wait_on(waiting, refusal())
        if pause is None:
            return number
        clock.sleep(pause)
    raise AssertionError("the patience has no end")


def test_a_request_waits_from_its_own_first_failure() -> None:
    """Each request has its whole patience, however long others have waited before it."""
    clock = SteppedClock()
    patience = Patience(PLACE, 10.0, clock)
    early, late = request(), request()
    began = clock.now
    while clock.now < began + 6:
        pause = patience.wait_on([early], refusal())
        assert pause is not None
        clock.sleep(pause)
    joined = clock.now
    while (pause := patience.wait_on([early, late], refusal())) and early.error is None:
        clock.sleep(pause)
    assert clock.now == pytest.approx(began + 10, abs=0.01)
    assert late.error is None
    try_until_over(patience, clock, [late])
    assert clock.now == pytest.approx(joined + 10, abs=0.01)


def test_the_error_says_how_long_and_why() -> None:
    """A request that was given up has the last problem, and the seconds that it was tried."""
    clock = SteppedClock()
    patience, pending = Patience(PLACE, 5.0, clock), request()
    try_until_over(patience, clock, [pending])
    assert isinstance(pending.error, StoreUnreachableError)
    assert pending.error.problem == "connection refused"
    assert pending.error.seconds == pytest.approx(5.0, abs=0.01)
    assert PLACE in str(pending.error)
    assert "for 5 s" in str(pending.error)


def test_pauses_are_doubled_up_to_a_second() -> None:
    """The first pause is short, later ones are a second at most, and none is the same for all."""
    clock = SteppedClock()
    try_until_over(Patience(PLACE, 60.0, clock), clock, [request()])
    assert all(0.025 <= pause <= 0.05 for pause in clock.slept[:1])
    assert all(0.5 <= pause <= 1.0 for pause in clock.slept[6:-1])
    assert len(set(clock.slept)) > 10
    assert len(clock.slept) < 130


def test_a_success_gives_the_whole_patience_again() -> None:
    """Failures before a success do not count against a later request."""
    clock = SteppedClock()
    patience, pending = Patience(PLACE, 5.0, clock), request()
    patience.wait_on([pending], refusal())
    clock.sleep(4.9)
    patience.note_success()
    clock.sleep(4.9)
    assert patience.wait_on([pending], refusal()) is not None
    assert pending.error is None


def test_no_patience_means_one_try() -> None:
    """With `patience=0` a request ends with its first failure."""
    pending = request()
    assert Patience(PLACE, 0.0, SteppedClock()).wait_on([pending], refusal()) is None
    assert isinstance(pending.error, StoreUnreachableError)


def test_a_read_is_repeated() -> None:
    """A read gives what the store answers at last."""
    clock, tries = SteppedClock(), iter(range(100))

    def read() -> int:
        if (number := next(tries)) < 20:
            raise refusal()
        return number

    assert Patience(PLACE, 60.0, clock).repeat(read) == 20
    assert len(clock.slept) == 20


def test_a_read_is_given_up() -> None:
    """A read of a store that stays away ends with the error, when the patience is over."""
    clock = SteppedClock()
    began = clock.now

    def read() -> int:
        raise refusal("starting up")

    with pytest.raises(StoreUnreachableError, match="for 3 s: starting up"):
        Patience(PLACE, 3.0, clock).repeat(read)
    assert clock.now == pytest.approx(began + 3, abs=0.01)


def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning when the store is gone and one record when it is back, whoever tries."""
    clock = SteppedClock()
    patience, group = Patience(PLACE, 60.0, clock), [request() for _ in range(7)]
    answers = iter([False] * 30 + [True])

    def read() -> None:
        clock.sleep(patience.wait_on(group, refusal()) or 0.0)
        if not next(answers):
            raise refusal()

    with caplog.at_level(logging.INFO, "aiocheckpoint"):
        patience.repeat(read)
        patience.note_success()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    gone, back = (record.getMessage() for record in caplog.records)
    assert PLACE in gone
    assert "connection refused" in gone
    assert "60 s" in gone
    assert "in reach again" in back
    assert "7 requests" in back


def test_a_connection_made_anew_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged of one failure that the next try mends."""
    patience = Patience(PLACE, 60.0, SteppedClock())
    for _ in range(5):
        patience.wait_on([request()], refusal())
        patience.note_success()
    assert caplog.records == []


def test_a_store_that_comes_and_goes_floods_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred short outages in a few seconds are logged as one."""
    clock = SteppedClock()
    patience = Patience(PLACE, 60.0, clock)
    with caplog.at_level(logging.INFO, "aiocheckpoint"):
        for _ in range(100):
            patience.wait_on([request()], refusal())
            patience.wait_on([request()], refusal())
            clock.sleep(0.05)
            patience.note_success()
    assert len(caplog.records) == 2


def test_a_withdrawn_request_waits_no_more() -> None:
    """A request whose caller has gone ends with the next failure, the others wait on."""
    patience = Patience(PLACE, 60.0, SteppedClock())
    gone: WithdrawableResult[None] = WithdrawableResult(None, None)
    sent: WithdrawableResult[None] = WithdrawableResult(None, None)
    assert gone.withdraw()
    assert sent.take()
    assert not sent.withdraw()
    assert patience.wait_on([gone, sent], refusal()) is not None
    assert isinstance(gone.error, StalledError)
    assert sent.error is None
    gone = WithdrawableResult(None, None)
    gone.withdraw()
    assert patience.wait_on([gone], refusal()) is None


def test_a_read_whose_caller_has_gone() -> None:
    """A read for nobody is not repeated."""
    patience, tries = Patience(PLACE, 60.0, SteppedClock()), iter(range(100))
    call = StoreCall(patience.repeat)

    def read() -> None:
        if next(tries) == 5:
            call.give_up()
        raise refusal()

    with pytest.raises(StalledError):
        call(read)
    assert next(tries) == 6


def test_answers_are_counted() -> None:
    """Each answer of the store counts, and no failure does."""
    patience = Patience(PLACE, 60.0, SteppedClock())
    patience.wait_on([request()], refusal())
    with pytest.raises(StoreUnreachableError):
        Patience(PLACE, 0.0, SteppedClock()).repeat(refused)
    assert patience.answers.count == 0
    patience.note_success()
    patience.repeat(lambda: None)
    assert patience.answers.count == 2


def refused() -> None:
    """Read nothing."""
    raise refusal()
