"""The protocol of leases as a model: claims, beats, saves, releases, looks, and what may go wrong.

Time is discrete. An owner does what it wants, in transactions: each is carried out and answered,
carried out without an answer, or not carried out. The asker frees the run of an owner that is gone.

The asker notices a cut of the network at its next look, except for one between two looks. Its clock
is slow for as long as it likes, as that of a machine that sleeps, and fast by one tick at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from explicit_search import ViolationError
from lease_states import (
    CURRENT,
    CUT,
    DOWN,
    HALF_SECOND,
    HEARTBEAT,
    LEASE,
    NAMES,
    OLDER,
    REACHED,
    SETTLED,
    STALE,
    UNCOUNTED,
    Look,
    Owner,
    Protocol,
    State,
    Watch,
    counted,
    freed,
    with_owner,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    Action = tuple[str, State]

__all__ = ["LeaseModel"]

_NO_SAVE: dict[str, Any] = {"save": "", "stored": False, "newest": False}


class LeaseModel:
    """The model of one protocol.

    Args:
        rules: The protocol.
        merged: Whether two states that differ by the names of the owners alone are one.
        odd: Whether the asker's clock is fast for a tick, or a cut goes by between two looks.
        alone: Whether there is one owner alone, which saves nothing.
    """

    def __init__(
        self, rules: Protocol, *, merged: bool = True, odd: bool = True, alone: bool = False
    ) -> None:
        self._rules = rules
        self._merged = merged and not alone
        self._has_odd_times = odd
        self._drift = 1 if odd else 0
        self._is_alone = alone
        self._normal: dict[object, tuple[tuple[Owner, Owner], bool]] = {}

    def first(self) -> State:
        """Nobody has the run, and the store is in reach."""
        return State()

    def actions(self, state: State) -> Iterator[Action]:
        """Give all that may happen in a state."""
        yield from self._store_acts(state)
        for number in (0,) if self._is_alone else (0, 1):
            yield from self._fate(state, number)
            if state.owners[number].alive and state.reach == REACHED:
                yield from self._owner_acts(state, number)
        yield from self._asker_acts(state)
        yield from self._ticks(state)

    # ---------------------------------------------------------------------------------- one for all

    def normal(self, state: State) -> State:
        """Forget all that changes nothing of what may happen."""
        holder, look = state.holder, state.look
        known = self._normal.get((holder, state.owners))
        if known is None:
            known = self._normal_owners(holder, state.owners)
            self._normal[holder, state.owners] = known
        owners, swapped = known
        silent, closed_for = state.silent, state.closed_for
        if self._is_late(state):  # Nothing else of the truth matters then.
            silent, closed_for = LEASE, 0
        if swapped:
            holder = None if holder is None else 1 - holder
            look = None if look is None else look._replace(owner=1 - look.owner)
        reach, up, _, closed, _, _, expired, _, watch, _ = state
        return State(reach, up, holder, closed, silent, closed_for, expired, owners, watch, look)

    def _normal_owners(
        self, holder: int | None, owners: tuple[Owner, Owner]
    ) -> tuple[tuple[Owner, Owner], bool]:
        """Give the owners, and whether their names are exchanged."""
        first, second = (self._normal_owner(owners[n], holds=holder == n) for n in (0, 1))
        if self._merged and (holder == 1 or (holder is None and second < first)):
            return (second, first), True
        return (first, second), False

    def _normal_owner(self, owner: Owner, *, holds: bool) -> Owner:
        rules = self._rules
        if holds:
            return owner
        if rules.has_fence and rules.has_new_tokens:  # A late save of another lease is harmless.
            owner = owner._replace(late="")
        if not owner.alive and not owner.late:
            return Owner(row=owner.row)
        if owner.lease in {"asked", "owed"}:
            return owner._replace(lease="")
        if owner.save and rules.looks_at_lost:
            return owner._replace(save="step") if owner.newest else owner._replace(**_NO_SAVE)
        return owner

    # ------------------------------------------------------------------ what happens to the store

    def _store_acts(self, state: State) -> Iterator[Action]:
        watch = state.watch
        if state.reach == REACHED:
            yield "the store stops", self._stopped(state)
            yield "the store is cut off", self._lost_look(state)._replace(reach=CUT)
        elif state.reach == DOWN:
            yield "the store starts", state._replace(reach=REACHED, up=0)
        elif watch is None or watch.age == UNCOUNTED or not self._rules.counts_committed:
            yield "the store is in reach again", state._replace(reach=REACHED)
        if state.holder is not None and not state.closed:
            yield "the session of the holder ends", state._replace(closed=True)

    def _stopped(self, state: State) -> State:
        for number in (0, 1):
            state = with_owner(state, number, late="")
        return self._lost_look(state)._replace(reach=DOWN, up=0, closed=True)

    def _lost_look(self, state: State) -> State:
        return state if state.look is None else self._interrupted(state)

    def _ticks(self, state: State) -> Iterator[Action]:
        after = self._passed(state)
        yield "a tick", self._older(after, 1)
        watch = state.watch
        if watch is not None and watch.age != UNCOUNTED:
            yield "a tick that the asker sleeps through", after
            if self._has_odd_times and not watch.odd:
                odd = after._replace(watch=watch._replace(odd=True))
                yield "a tick that is two for the asker", self._older(odd, 2)
                if state.reach == REACHED and state.look is None:
                    closed_for = HALF_SECOND if state.closed else 0
                    cut = state._replace(watch=odd.watch, closed_for=closed_for)
                    yield "a cut between two looks", self._older(cut, LEASE)

    def _passed(self, state: State) -> State:
        if state.holder is None:
            silent = closed_for = expired = 0
        else:
            silent = min(state.silent + (state.reach == REACHED), LEASE)
            closed_for = min(state.closed_for + 1, HALF_SECOND) if state.closed else 0
            expired = 0 if self._rules.watches_beats else min(state.expired + 1, LEASE)
        up = state.up if state.reach == DOWN else min(state.up + 1, SETTLED)
        return state._replace(up=up, silent=silent, closed_for=closed_for, expired=expired)

    def _older(self, state: State, ticks: int) -> State:
        """Let the clock of the asker go on."""
        watch, look, rules = state.watch, state.look, self._rules
        if look is not None and look.watch is not None and not rules.counts_until_asked:
            waited = counted(look.watch, ticks, closed=look.watch.closed)
            gone = self._decides(state, look.owner, waited)
            look = look._replace(gone=gone, watch=waited)
        if watch is not None and watch.age != UNCOUNTED:
            most = HEARTBEAT if rules.counts_heartbeats else LEASE
            watch = watch._replace(age=min(watch.age + ticks, most))
        return state._replace(watch=watch, look=look)

    # ----------------------------------------------------------------------------- what owners do

    def _fate(self, state: State, number: int) -> Iterator[Action]:
        owner, name = state.owners[number], NAMES[number]
        if owner.alive and (owner.lease or state.holder == number):
            yield f"{name} dies", with_owner(state, number, alive=False, lease="", **_NO_SAVE)
        if owner.late and state.reach != DOWN:
            yield f"the store carries out the late save of {name}", self._late_save(state, number)
            yield f"the late save of {name} is dropped", with_owner(state, number, late="")

    def _owner_acts(self, state: State, number: int) -> Iterator[Action]:
        owner, name = state.owners[number], NAMES[number]
        if state.holder == number:
            yield f"{name} beats", self._renewed(state, number)
        if owner.lease in {"", "asked"}:
            yield from self._claims(state, number)
        if owner.lease == "asked":
            lease = "owed" if self._rules.repeats_claims else ""
            yield f"{name} gives its claim up", with_owner(state, number, lease=lease)
        elif owner.lease == "owed":
            yield from self._releases(state, number)
        elif owner.lease == "held" and owner.save:
            yield from self._saves(state, number, owner.save)
        elif owner.lease == "held":
            yield f"{name} gives its lease up", with_owner(state, number, lease="owed")
            if not self._is_alone:
                yield from self._saves(state, number, "step")
                yield from self._saves(state, number, "end")

    def _renewed(self, state: State, number: int) -> State:
        """An owner beats, in a new session if its old one is lost."""
        if self._rules.ends_sessions and state.owners[number].late:
            state = with_owner(state, number, late="")
        look = None if state.look is None else state.look._replace(watch=None)
        state = state._replace(closed=False, silent=0, closed_for=0, expired=0)
        return state._replace(watch=None, look=look)

    def _claims(self, state: State, number: int) -> Iterator[Action]:
        name = NAMES[number]
        if state.holder is None:
            taken = self._renewed(state._replace(holder=number), number)
            if self._rules.renews_rows:
                taken = with_owner(taken, number, row=True)
            yield f"{name} claims", with_owner(taken, number, lease="held")
            yield f"{name} claims, without an answer", with_owner(taken, number, lease="asked")
        elif state.holder == number and state.owners[number].lease == "asked":
            renewed = self._renewed(state, number)
            yield f"{name} finds its claim", with_owner(renewed, number, lease="held")

    def _releases(self, state: State, number: int) -> Iterator[Action]:
        name = NAMES[number]
        released = freed(state) if state.holder == number else state
        yield f"{name} releases", with_owner(released, number, lease="")
        if not self._rules.repeats_releases:
            yield f"{name} releases, which fails", with_owner(state, number, lease="")

    def _saves(self, state: State, number: int, what: str) -> Iterator[Action]:
        again = bool(state.owners[number].save)
        name = f"{NAMES[number]} {'repeats' if again else 'saves'} {what}"
        if state.holder == number and (state.closed or state.owners[number].late):
            state = self._renewed(state, number)
        if not self._passes_fence(state, number, late=False):
            yield self._fails(state, number, name)
            return
        done = self._stored(state, number, ends=what == "end")
        late, lease = done.owners[number].late, "" if what == "end" else "held"
        late = OLDER if late == CURRENT and not again else late
        yield name, with_owner(done, number, lease=lease, late=late, **_NO_SAVE)
        lost = with_owner(done, number, save=what, stored=True, newest=True)
        yield f"{name}, without an answer", lost
        if not again:
            failed = with_owner(state, number, save=what)
            yield f"{name}, which fails", failed
            if what == "step" and not state.owners[number].late:
                yield f"{name}, which is delayed", with_owner(failed, number, late=CURRENT)

    def _fails(self, state: State, number: int, name: str) -> Action:
        """A save under a lost lease is acknowledged only where it was stored before."""
        owner = state.owners[number]
        idle = with_owner(state, number, lease="", **_NO_SAVE)
        if owner.newest or (owner.save and not self._rules.looks_at_lost):
            if not owner.stored:
                raise ViolationError(f"{name}: it is acknowledged, and was not stored")
            return f"{name}, and finds it stored", idle
        return f"{name}, and finds its lease lost", idle

    def _passes_fence(self, state: State, number: int, *, late: bool) -> bool:
        rules, holds = self._rules, state.holder == number
        holds = holds and not (late and state.owners[number].late == STALE)
        has_token = holds if rules.has_new_tokens else state.holder is not None
        passes = has_token or not rules.has_fence
        if passes and not holds:
            raise ViolationError(f"{NAMES[number]} stores a snapshot under a lost lease")
        return passes

    def _stored(self, state: State, number: int, *, ends: bool) -> State:
        state = with_owner(state, 1 - number, newest=False)
        return freed(state) if ends else state

    def _late_save(self, state: State, number: int) -> State:
        owner = state.owners[number]
        if self._passes_fence(state, number, late=True):
            if owner.late == OLDER:
                raise ViolationError(f"an older snapshot of {NAMES[number]} replaces a newer one")
            state = self._stored(state, number, ends=False)
            if owner.save == "step":
                state = with_owner(state, number, stored=True, newest=True)
        return with_owner(state, number, late="")

    # ------------------------------------------------------------------------- what the asker does

    def _asker_acts(self, state: State) -> Iterator[Action]:
        if state.look is not None:
            yield from self._answered(state, state.look)
        elif state.reach == REACHED and state.holder is not None:
            yield "the asker looks", state._replace(look=self._looked(state, state.holder))
        elif state.reach == CUT and state.holder is not None:
            looked = state._replace(look=self._looked(state, state.holder))
            yield "the asker looks, and cannot write", self._interrupted(looked)

    def _looked(self, state: State, holder: int) -> Look:
        watch, closed = state.watch, state.closed
        if watch is None:
            after = Watch(closed, 0, 0, 0, odd=False)
        else:
            passed = max(watch.age, 0)
            passed = min(passed, state.up) if self._rules.counts_uptime else passed
            after = counted(watch, passed, closed=closed)
        return Look(holder, self._decides(state, holder, after), self._is_late(state), after)

    def _decides(self, state: State, holder: int, watch: Watch) -> bool:
        rules = self._rules
        if not state.owners[holder].row:
            return True
        if not rules.watches_beats:
            return state.expired >= LEASE
        half = HALF_SECOND if rules.waits_half_second else 0
        up = state.up - HEARTBEAT if rules.waits_for_server else half
        settled = watch.closed and watch.seconds and min(watch.seconds_closed, up) >= half
        return bool(settled) or watch.seconds >= LEASE

    def _is_late(self, state: State) -> bool:
        """Whether the holder may lose its run: it is dead, or did not beat or connect in time."""
        if state.holder is None:
            return False
        if not state.owners[state.holder].alive or state.silent > HEARTBEAT + self._drift:
            return True
        settled = min(state.closed_for, state.up - HEARTBEAT)
        return state.closed and settled >= HALF_SECOND - self._drift

    def _answered(self, state: State, look: Look) -> Iterator[Action]:
        done = state._replace(look=None, watch=look.watch)
        if look.gone and state.holder == look.owner:
            if not look.late and state.owners[look.owner].alive:
                raise ViolationError(f"{NAMES[look.owner]} lives, and loses its run")
            after = freed(done)
            yield (
                "the asker frees the run",
                with_owner(after, look.owner, row=self._rules.renews_rows),
            )
        else:
            yield "the asker is answered", done
        yield "the look of the asker fails", self._interrupted(state)

    def _interrupted(self, state: State) -> State:
        watch = state.watch
        if not self._rules.counts_committed:
            watch = watch if state.look is None else state.look.watch
        elif watch is not None:
            watch = watch._replace(age=UNCOUNTED)
        return state._replace(look=None, watch=watch)

    # ----------------------------------------------------------------------------------- calm times

    def calm(self, state: State, *, acting: bool) -> Action | None:
        """Give what happens if nothing goes wrong any more. None if the run is free or held.

        Args:
            state: Any state.
            acting: Whether the holder goes on if it lives. Else it is as if it were dead.
        """
        holder = state.holder
        if holder is None:
            return None
        owner = state.owners[holder]
        acts = acting and owner.alive
        if acts and owner.lease == "held" and not owner.save:
            return None
        acts = acts and state.reach == REACHED
        name, after = next(self._resolves(state, holder) if acts else self._in_turn(state))
        return name, self.normal(after)

    def _resolves(self, state: State, holder: int) -> Iterator[Action]:
        """What an owner does that waits for an answer."""
        owner = state.owners[holder]
        if owner.lease == "asked":
            yield from self._claims(state, holder)
        elif owner.lease == "owed":
            yield from self._releases(state, holder)
        elif owner.save:
            yield from self._saves(state, holder, owner.save)
        yield f"{NAMES[holder]} beats", self._renewed(state, holder)

    def _in_turn(self, state: State) -> Iterator[Action]:
        """The store is in reach, and the asker looks in each tick."""
        watch = state.watch
        unnoticed = watch is not None and watch.age != UNCOUNTED
        if state.look is None and (state.reach == DOWN or (state.reach == CUT and not unnoticed)):
            yield from self._store_acts(state)
        elif state.look is not None or watch is None or watch.age or state.reach == CUT:
            yield from self._asker_acts(state)
        yield from self._ticks(state)
