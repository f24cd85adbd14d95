"""Which owners are gone, by looks at a clock that is set by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint.handlers.leased._owner_watch import SECONDS_WITHOUT_SESSION, OwnerWatch

LEASE, HEARTBEAT = 6.0, 2.0
LONG_UP = 1000.0


class Seen(NamedTuple):
    """The row of an owner as a look finds it."""

    id: str = "owner"
    beat: int = 1
    lease: float = LEASE
    session: str | None = "first"
    session_open: bool | None = True


POOLED = Seen(session=None, session_open=None)
CLOSED = Seen(session_open=False)


@dataclass
class HandSetClock:
    """A clock that is set by hand."""

    now: float = 50.0

    def monotonic(self) -> float:
        """Give the time that was set."""
        return self.now

    time = monotonic

    def sleep(self, seconds: float, /) -> None:
        """Let time pass at once."""
        self.now += seconds


@dataclass
class Asker:
    """A process that looks at owners, with a clock of its own."""

    clock: HandSetClock = field(default_factory=HandSetClock)
    watch: OwnerWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = OwnerWatch(self.clock)

    def look(
        self,
        after: float = 0.0,
        owner: Seen = POOLED,
        *,
        up: float = LONG_UP,
        takes: float = 0.0,
        commits: bool = True,
    ) -> float | None:
        """Look some seconds later. The answer takes time, and the transaction is committed."""
        self.clock.now += after
        asked_at = self.clock.now
        self.clock.now += takes
        left = self.watch.look(owner, seconds_up=up, asked_at=asked_at)
        if commits:
            self.watch.committed()
        else:
            self.watch.interrupted()
        return left


def test_beat_that_does_not_move_for_a_lease() -> None:
    """An owner is gone when its beat was the same for a lease. Its lease is counted down."""
    asker = Asker()
    assert [asker.look(2), asker.look(2), asker.look(2), asker.look(1.5)] == [6, 4, 2, 0.5]
    assert asker.look(0.5) is None


def test_beat_that_moves() -> None:
    """Each new beat begins a new lease."""
    asker = Asker()
    for beat in range(100):
        assert asker.look(2, POOLED._replace(beat=beat)) == LEASE


def test_session_that_ended() -> None:
    """An owner is gone when its session has been closed for half a second."""
    asker = Asker()
    asker.look(0, Seen())
    assert asker.look(1, CLOSED) == SECONDS_WITHOUT_SESSION
    assert asker.look(0.25, CLOSED) == 0.25
    assert asker.look(0.25, CLOSED) is None


@pytest.mark.parametrize("sign", ["session", "beat", "open"])
def test_sign_of_life_after_a_session(sign: str) -> None:
    """A new session, a beat, or the same session open again begins another half second."""
    asker = Asker()
    again = {
        "session": CLOSED._replace(session="second"),
        "beat": CLOSED._replace(beat=2),
        "open": CLOSED._replace(session_open=True),
    }[sign]
    asker.look(0, CLOSED)
    assert asker.look(0.4, again) is not None
    assert asker.look(0.4, again._replace(session_open=False)) is not None
    assert asker.look(0.5, again._replace(session_open=False)) is None


@pytest.mark.parametrize(
    "owner",
    [Seen(), Seen(session_open=None), POOLED, POOLED._replace(session_open=False)],
    ids=["open", "unknown", "pooled", "pooled and closed"],
)
def test_session_that_tells_nothing(owner: Seen) -> None:
    """A session that lives, or that cannot be seen, leaves the lease alone to decide."""
    asker = Asker()
    assert [asker.look(1, owner) for _ in range(6)] == [6, 5, 4, 3, 2, 1]
    assert asker.look(1, owner) is None


def test_server_that_was_restarted() -> None:
    """A closed session is no death before the server is up for a heartbeat and half a second."""
    asker = Asker()
    found = [asker.look(0.25, CLOSED, up=number / 4) for number in range(1, 10)]
    assert None not in found
    assert asker.look(0.25, CLOSED, up=HEARTBEAT + SECONDS_WITHOUT_SESSION) is None


def test_server_restarted_behind_a_look() -> None:
    """A look before a restart does not shorten the time that owners have behind it."""
    asker = Asker()
    asker.look(0, CLOSED)
    assert asker.look(0.4, CLOSED) is not None
    assert asker.look(3600, CLOSED, up=HEARTBEAT + 0.1) is not None


def test_time_before_a_restart() -> None:
    """Only the time in which the server was up counts between two looks."""
    asker = Asker()
    asker.look()
    assert asker.look(1.9, up=0.5) == LEASE - 0.5


@pytest.mark.parametrize("owner", [POOLED, CLOSED], ids=["beat", "session"])
def test_transaction_that_fails(owner: Seen) -> None:
    """A look whose transaction fails counts nothing, nor does the time until the next look."""
    asker = Asker()
    first = asker.look(0, owner)
    assert asker.look(0.4, owner, commits=False) is not None
    assert asker.look(3600, owner) == first


def test_first_look_that_fails() -> None:
    """An owner whose first look failed is watched from the next one."""
    asker = Asker()
    asker.look(0, CLOSED, commits=False)
    assert asker.look(10, CLOSED) == SECONDS_WITHOUT_SESSION


def test_failure_that_forgets_nothing() -> None:
    """Time counted before an outage stays counted: an owner that died is gone behind it."""
    asker = Asker()
    asker.look()
    assert asker.look(2) == 4
    asker.look(1, commits=False)
    assert asker.look(60) == 4
    assert asker.look(2) == 2
    assert asker.look(2) is None


def test_asker_that_slept() -> None:
    """A gap between two looks counts as one heartbeat at most."""
    asker = Asker()
    asker.look()
    assert asker.look(86_400) == LEASE - HEARTBEAT
    assert asker.look(86_400) == LEASE - 2 * HEARTBEAT
    assert asker.look(86_400) is None


def test_answer_that_takes_long() -> None:
    """The time that an answer takes does not count: the owner may have beaten behind the look."""
    asker = Asker()
    asker.look(0, CLOSED)
    assert asker.look(0.25, CLOSED, takes=30) == 0.25
    assert asker.look(0.2, CLOSED, takes=30) is not None
    assert asker.look(0.1, CLOSED) is None


def test_clock_that_stands_still() -> None:
    """A look without any time behind the first one never finds an owner gone."""
    asker = Asker()
    without_lease = CLOSED._replace(lease=0.0)
    assert asker.look(0, without_lease) == 0
    assert asker.look(-5, without_lease) == 0


def test_lease_that_is_no_number() -> None:
    """A row whose lease is not a number is never gone by its beat."""
    asker = Asker()
    for _ in range(10):
        assert asker.look(1000, POOLED._replace(lease=math.nan)) is not None


def test_owners_one_by_one() -> None:
    """Looks at one owner tell nothing of another one."""
    asker = Asker()
    for _ in range(4):
        asker.look(2)
    assert asker.look(0, POOLED._replace(id="other")) == LEASE


def test_forgotten_owners() -> None:
    """An owner that was forgotten is watched anew, and the others are not."""
    asker = Asker()
    other = POOLED._replace(id="other")
    for owner in (POOLED, other, POOLED, other):
        asker.look(1, owner)
    asker.watch.forget_all_but(["other", "strange"])
    assert asker.look(0) == LEASE
    assert asker.look(0, other) == LEASE - 2


@dataclass
class World:
    """One owner, the store and an asker, in eighths of a second, which floats hold exactly.

    The owner lives. It beats in each heartbeat of its clock while the store can be written, and
    connects again as late as it may.
    """

    asker: Asker = field(default_factory=Asker)
    seen: Seen = field(default_factory=Seen)
    up: float = LONG_UP
    reachable: bool = True
    silent: float = 0.0
    without_session: float = 0.0

    def pass_time(self) -> None:
        """Let an eighth of a second pass. The owner does what it has to do at the latest."""
        self.asker.clock.now += 1 / 8
        if not self.reachable:
            return
        self.up += 1 / 8
        self.silent += 1 / 8
        self.without_session += 0 if self.seen.session_open else 1 / 8
        latest = HEARTBEAT + SECONDS_WITHOUT_SESSION - 1 / 8
        connects = self.without_session >= SECONDS_WITHOUT_SESSION - 1 / 8 and self.up >= latest
        if connects or self.silent >= HEARTBEAT:
            self.beat()

    def beat(self) -> None:
        """Connect if need be, and beat."""
        self.silent = self.without_session = 0.0
        session = self.seen.session if self.seen.session_open else f"session {self.seen.beat}"
        self.seen = Seen(beat=self.seen.beat + 1, session=session, session_open=True)

    def act(self, what: str) -> None:
        """Do one thing of those that may happen."""
        if what == "look" and self.reachable:
            left = self.asker.look(0, self.seen, up=self.up)
            assert left is not None, "a living owner was robbed"
        elif what == "look":
            self.asker.watch.interrupted()
        elif what == "fail":
            self.asker.look(0, self.seen, up=self.up, commits=False)
        elif what == "cut":
            self.seen = self.seen._replace(session_open=False)
        elif what == "stop":
            self.reachable = False
        elif what == "start" and not self.reachable:
            self.reachable, self.up = True, 0.0
            self.seen = self.seen._replace(session_open=False)
            # The outage was none of the owner's time. Its next try comes within a heartbeat.
            self.silent = self.without_session = 0.0


EVENTS = st.sampled_from(["look", "look", "fail", "cut", "stop", "start", "start"])
SCHEDULES = st.lists(st.tuples(st.integers(0, 40), EVENTS), max_size=60)


@given(schedule=SCHEDULES)
def test_living_owner(schedule: list[tuple[int, str]]) -> None:
    """No living owner is gone, whatever the store, the network and the asker do."""
    world = World()
    for eighths, what in schedule:
        for _ in range(eighths):
            world.pass_time()
        world.act(what)


@given(schedule=SCHEDULES, pooled=st.booleans())
def test_dead_owner(schedule: list[tuple[int, str]], pooled: bool) -> None:  # noqa: FBT001
    """A dead owner is gone a lease of looks later, or sooner where its session can be seen."""
    asker = Asker()
    owner = POOLED if pooled else CLOSED
    for eighths, what in schedule:
        if what in {"look", "fail"}:
            asker.look(eighths / 8, owner, commits=what == "look")
    asker.look(0, owner)
    looks = LEASE * 2 if pooled else SECONDS_WITHOUT_SESSION * 2
    found = [asker.look(0.5, owner) for _ in range(int(looks))]
    assert None in found
