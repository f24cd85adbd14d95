"""The protocol of leases as a model: all states are searched, and each broken rule is found."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from explicit_search import Calm, Counterexample, ViolationError, search
from lease_model import LeaseModel
from lease_states import Protocol, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from explicit_search import Searched

WRITES = "stores a snapshot under a lost lease"
ROBBED = "lives, and loses its run"
OVERWRITTEN = "an older snapshot of A replaces a newer one"
NOT_STORED = "it is acknowledged, and was not stored"
STUCK = "the run of an owner that is dead, stopped or asleep is never free"
FORGOTTEN = "the run is never free, though nobody has it"

BROKEN = {
    "watches_beats": ROBBED,
    "waits_half_second": ROBBED,
    "waits_for_server": ROBBED,
    "counts_committed": ROBBED,
    "counts_heartbeats": ROBBED,
    "counts_uptime": ROBBED,
    "counts_until_asked": ROBBED,
    "renews_rows": ROBBED,
    "has_fence": WRITES,
    "has_new_tokens": WRITES,
    "ends_sessions": OVERWRITTEN,
    "looks_at_lost": NOT_STORED,
    "repeats_claims": FORGOTTEN,
    "repeats_releases": FORGOTTEN,
}
OF_TWO_OWNERS = {"has_fence", "has_new_tokens", "ends_sessions", "looks_at_lost"}
HAPPENS = """
A claims; A claims, without an answer; A finds its claim; A gives its claim up; A releases; A beats
A gives its lease up; A dies; A saves step; A saves step, without an answer; A repeats step
A saves step, which fails; A saves step, which is delayed; A saves end; A saves end, which fails
A saves end, without an answer; A repeats end; A repeats end, without an answer
B saves step, and finds its lease lost; B repeats step, and finds it stored
the late save of A is dropped; the store stops; the store is cut off; the store starts
the store is in reach again; the session of the holder ends; the asker looks
the asker looks, and cannot write; the asker is answered; the look of the asker fails
the asker frees the run; a tick; a tick that the asker sleeps through
"""


def calm_times(model: LeaseModel) -> list[Calm[State]]:
    """What holds from each state on, if nothing goes wrong any more."""
    return [
        Calm(partial(model.calm, acting=False), STUCK),
        Calm(partial(model.calm, acting=True), FORGOTTEN),
    ]


def searched(rules: Protocol, *, odd: bool, alone: bool, merged: bool = True) -> Searched[State]:
    """Search all states of a protocol, with the promises for calm times."""
    model = LeaseModel(rules, odd=odd, alone=alone, merged=merged)
    result = search(model, calm_times(model))
    print(result.counterexample)  # noqa: T201 - the way to a failure
    return result


def test_two_owners() -> None:
    """Two owners, an asker and one run keep all promises in every state."""
    result = searched(Protocol(), odd=False, alone=False)
    assert result.counterexample is None
    assert len(result.found) > 90_000
    names = {name for line in HAPPENS.strip().splitlines() for name in line.split("; ")}
    assert names <= result.names


def test_odd_times() -> None:
    """No living owner is robbed by an asker whose clock is fast, or that misses a cut."""
    result = searched(Protocol(), odd=True, alone=True)
    assert result.counterexample is None
    assert len(result.found) > 40_000
    assert {"a tick that is two for the asker", "a cut between two looks"} <= result.names


@pytest.mark.torture
def test_two_owners_at_odd_times() -> None:
    """Both together: two owners, and an asker at odd times."""
    result = searched(Protocol(), odd=True, alone=False)
    assert result.counterexample is None
    assert len(result.found) > 250_000


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule(rule: str) -> None:
    """Each rule is needed: without it, the search finds the promise that is broken."""
    alone = rule not in OF_TWO_OWNERS
    rules = replace(Protocol(), **{rule: False})
    model = LeaseModel(rules, odd=alone, alone=alone, merged=False)
    result = search(model, calm_times(model) if BROKEN[rule] == FORGOTTEN else [])
    print(result.counterexample)  # noqa: T201 - to be read with -s
    assert result.counterexample is not None
    assert result.counterexample.problem.endswith(BROKEN[rule])
    assert result.counterexample.steps[0][0] == "at first"


def test_broken_rules_are_all() -> None:
    """No rule of the protocol is left out."""
    assert {field.name for field in fields(Protocol)} == set(BROKEN)


def test_trace_of_a_broken_rule() -> None:
    """A counterexample is a list of what happened, the shortest one."""
    rules = replace(Protocol(), waits_for_server=False)
    result = search(LeaseModel(rules, alone=True))
    assert str(result.counterexample).splitlines() == [
        "  0. at first",
        "  1. A claims",
        "  2. the store stops",
        "  3. the store starts",
        "  4. the asker looks",
        "  5. the asker is answered",
        "  6. a tick",
        "  7. a tick",
        "  8. the asker looks",
        "  => A lives, and loses its run",
    ]


@dataclass
class Counting:
    """A model that counts up to a limit, and breaks at a number."""

    breaks_at: int

    def first(self) -> int:
        """Begin at 0."""
        return 0

    def actions(self, state: int) -> Iterator[tuple[str, int]]:
        """Add one or two."""
        if state == self.breaks_at:
            raise ViolationError("broken")
        yield "two", state + 2
        yield "one", state + 1

    def normal(self, state: int) -> int:
        """All above 9 are one."""
        return min(state, 10)


def test_search() -> None:
    """A search finds all states, or the shortest way to a broken promise."""
    assert sorted(search(Counting(breaks_at=11)).found) == list(range(11))
    steps = [("at first", 0), ("two", 2), ("two", 4), ("one", 5)]
    assert search(Counting(breaks_at=5)).counterexample == Counterexample("broken", steps)


def test_calm_that_goes_round() -> None:
    """A circle that leads to no end is found, and told up to where it closes."""
    next_of = {2: ("on", 3), 3: ("on", 4), 4: ("on", 2)}
    calm = Calm[int](next_of.get, "round")
    found = search(Counting(breaks_at=11), [calm]).counterexample
    assert found == Counterexample(
        "round", [("at first", 0), ("two", 2), ("on", 3), ("on", 4), ("on", 2)]
    )
