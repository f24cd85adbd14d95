"""The states of the model of leases: a store, two owners, an asker and one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "CURRENT",
    "CUT",
    "DOWN",
    "HALF_SECOND",
    "HEARTBEAT",
    "LEASE",
    "NAMES",
    "OLDER",
    "REACHED",
    "SETTLED",
    "STALE",
    "UNCOUNTED",
    "Look",
    "Owner",
    "Protocol",
    "State",
    "Watch",
    "counted",
    "freed",
    "with_owner",
]

HALF_SECOND = 2
"""Ticks of the model's clock. The heartbeat is as short, which keeps the states few."""
HEARTBEAT = 2
LEASE = 3 * HEARTBEAT
SETTLED = HEARTBEAT + HALF_SECOND
"""Ticks after a start of the server behind which a closed session is a sign of death."""
UNCOUNTED = -1
"""The time since a look, if it does not count."""

REACHED, CUT, DOWN = "reached", "cut", "down"
CURRENT, OLDER, STALE = "current", "older", "stale"
NAMES = "AB"


class Owner(NamedTuple):
    """A process that runs the run.

    One that is stopped or asleep is one that does nothing for a while, as any may do here.

    Attributes:
        alive: Whether it lives. A dead one that holds nothing is succeeded by a new process.
        lease: What it knows: nothing, a claim without an answer ("asked"), "held", or a release
            without an answer ("owed").
        save: A save without an answer: a "step", an "end", or none.
        stored: Whether that save was stored, so that it may be acknowledged.
        newest: Whether its snapshot is the one in the row of the run.
        late: A save that the store may still carry out, though its owner has given up waiting for
            it. Its token is "current" or "stale". If it is "older", a later one was acknowledged.
        row: Whether it has a row among the owners.
    """

    alive: bool = True
    lease: str = ""
    save: str = ""
    stored: bool = False
    newest: bool = False
    late: str = ""
    row: bool = True


class Watch(NamedTuple):
    """What the asker has found by looks that were committed, while nothing changed since.

    Attributes:
        closed: Whether the session was closed at the last look.
        seconds, seconds_closed: Ticks counted without a beat, and with a closed session.
        age: Ticks since the last look by the asker's clock, or `UNCOUNTED`.
        odd: Whether its clock was fast for a tick, or a cut went by between two looks. One of them
            may happen in a watch.
    """

    closed: bool
    seconds: int
    seconds_closed: int
    age: int
    odd: bool


class Look(NamedTuple):
    """A look of the asker that has read the row of the holder, and is on its way back.

    Attributes:
        owner: The owner looked at, who holds the run.
        gone: Whether it is gone, as this look will decide.
        late: Whether it is late in truth, or dead, so that it may lose its run.
        watch: The watch after a commit. None where the owner has shown a sign of life since.
    """

    owner: int
    gone: bool
    late: bool
    watch: Watch | None


class State(NamedTuple):
    """One state of all.

    Attributes:
        reach: Whether the store is reached by all, cut off from all, or down.
        up: Ticks since its start, up to `SETTLED`.
        holder: The owner in the run's row, or None. Its token is that of the holder's lease.
        closed: Whether the session in the row of the holder has ended at the server.
        silent: Ticks since the last beat of the holder in which the store could be written.
        closed_for: Ticks since that session has ended.
        expired: Ticks since its last beat.
        owners: Both owners.
        watch, look: Of the asker.
    """

    reach: str = REACHED
    up: int = SETTLED
    holder: int | None = None
    closed: bool = True
    silent: int = 0
    closed_for: int = 0
    expired: int = 0
    owners: tuple[Owner, Owner] = (Owner(), Owner())
    watch: Watch | None = None
    look: Look | None = None


@dataclass(frozen=True)
class Protocol:
    """The rules. Each can be broken.

    Attributes:
        watches_beats: The asker counts ticks without a beat while it watches. Else it compares the
            time of the last beat with a clock on the wall.
        has_fence: A save asks for the token.
        waits_half_second: A closed session is no death before half a second.
        waits_for_server: Nor before the server is up for a heartbeat and half a second.
        has_new_tokens: Each claim has a new token.
        counts_committed: A look counts only if its transaction was committed.
        counts_heartbeats: A gap between two looks counts as one heartbeat at most.
        counts_uptime: Nor does it count for longer than the server is up.
        counts_until_asked: The time that an answer takes does not count.
        ends_sessions: A new session of an owner begins when its old one has ended at the server.
        looks_at_lost: A save whose answer was lost is looked for before it is acknowledged.
        repeats_claims: A claim whose answer was lost is repeated, or released.
        repeats_releases: A release that failed is repeated.
        renews_rows: A claim renews the row of its owner.
    """

    watches_beats: bool = True
    has_fence: bool = True
    waits_half_second: bool = True
    waits_for_server: bool = True
    has_new_tokens: bool = True
    counts_committed: bool = True
    counts_heartbeats: bool = True
    counts_uptime: bool = True
    counts_until_asked: bool = True
    ends_sessions: bool = True
    looks_at_lost: bool = True
    repeats_claims: bool = True
    repeats_releases: bool = True
    renews_rows: bool = True


def with_owner(state: State, number: int, **changes: Any) -> State:  # noqa: ANN401 - any field
    """Change one of the owners."""
    first, second = state.owners
    if number == 0:
        return state._replace(owners=(first._replace(**changes), second))
    return state._replace(owners=(first, second._replace(**changes)))


def freed(state: State) -> State:
    """Nobody holds the run. A save under its token is stale."""
    if state.holder is not None and state.owners[state.holder].late:
        state = with_owner(state, state.holder, late=STALE)
    look = None if state.look is None else state.look._replace(watch=None)
    state = state._replace(holder=None, closed=True, silent=0, closed_for=0, expired=0)
    return state._replace(watch=None, look=look)


def counted(watch: Watch, passed: int, *, closed: bool) -> Watch:
    """Count some ticks more of a watch, in which nothing has changed."""
    seconds_closed = min(watch.seconds_closed + passed, HALF_SECOND)
    return Watch(
        closed,
        min(watch.seconds + passed, LEASE),
        seconds_closed if closed and watch.closed else 0,
        0,
        watch.odd,
    )
