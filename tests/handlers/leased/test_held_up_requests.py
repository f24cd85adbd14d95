"""A row that another session locks holds up its run, and no other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from leased_processes import LEASE, HandClock, LeasedProcess, call, lease_of, outcome_of, release
from memory_store import MemoryServer

from aiocheckpoint import LeaseLostError, RunInProgressError, StoreUnreachableError

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased import LeaseRecord, StoreConnection
    from aiocheckpoint.handlers.leased._writer import Again

PATIENCE = 20.0
SECONDS = 12.0
EACH = 0.05
"""Seconds between two requests of others."""
LONGEST = 0.25
"""The most seconds that others wait, once the lock is known: two tries of what it holds up."""


@pytest.fixture
def server() -> MemoryServer:
    """Start a server whose clock is set by hand."""
    return MemoryServer(HandClock())


@pytest.fixture(params=[True, False], ids=["alone", "in transactions"])
def process(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> LeasedProcess:
    """Give a process whose batches are statements of their own, and one that has transactions."""
    monkeypatch.setattr("memory_store.MemoryConnection.commits_alone", request.param)
    return LeasedProcess(server, patience=PATIENCE)


def key_of(run_id: str) -> tuple[bytes, bytes]:
    """The key of a run."""
    return b"f", run_id.encode()


def begin(process: LeasedProcess, run_id: str) -> LeaseRecord:
    """Begin a run."""
    lease = lease_of(run_id)
    first = process.snapshot(lease, "running", 0)
    assert process.carry_out(process.claim(lease, first)) == ["claimed"]
    return lease


class Beside:
    """A run whose steps are stored while other requests are held up."""

    def __init__(self, process: LeasedProcess, again: Again | None) -> None:
        """Begin it before."""
        self.again = again
        self.longest = 0.0
        self.done = 0
        self._process = process
        self._clock = process.server.clock
        self._lease = begin(process, "beside")

    def go_on(self, seconds: float) -> None:
        """Store a step, wait a moment, and so on. The writer thread is imitated."""
        until = self._clock.monotonic() + seconds
        while self._clock.monotonic() < until:
            asked_at = self._clock.monotonic()
            save = self._process.save(self._lease, "running", self.done + 1)
            self.again = self._process.processor.apply([*self._waiting(), save])
            assert outcome_of(save) is None
            self.longest = max(self.longest, self._clock.monotonic() - asked_at)
            self.done += 1
            self._pause(EACH)

    def _waiting(self) -> list[PendingResult[Any]]:
        return [] if self.again is None else self.again.requests

    def _pause(self, seconds: float) -> None:
        """Wait for the next step. The writer tries again meanwhile, or does what is due."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 1e-9:
            if self.again is not None:
                assert self.again.at_once, "the next step would wait for the pause of the others"
                self._clock.sleep(min(left, self.again.seconds + 0.001))
                if left > self.again.seconds + 0.001:
                    self.again = self._process.processor.apply(self.again.requests)
                continue
            due = self._process.processor.idle_timeout()
            self._clock.sleep(left if due is None else min(due + 0.001, left))
            self._process.processor.on_idle()


def hold_up(process: LeasedProcess, *pending: PendingResult[Any]) -> Beside:
    """Carry out requests, of which some are held up, and make a run beside them."""
    beside = Beside(process, None)
    beside.again = process.processor.apply(pending)
    return beside


def test_steps_of_others_go_on(server: MemoryServer, process: LeasedProcess) -> None:
    """The steps of others are stored at once, and all leases are kept. Then the lock goes."""
    lease, asker = begin(process, "x"), LeasedProcess(server)
    save = process.save(lease, "running", 1)
    server.locked.add(key_of("x"))
    beside = hold_up(process, save)
    while beside.done < SECONDS / EACH:
        beside.go_on(1.0)
        claims = [asker.claim(lease_of(run_id)) for run_id in ("x", "beside")]
        assert asker.carry_out(*claims) == [RunInProgressError, RunInProgressError]
    assert SECONDS > LEASE
    assert beside.longest <= LONGEST
    assert beside.again is not None
    server.locked.clear()
    beside.go_on(2 * LONGEST)
    assert outcome_of(save) is None
    assert server.tables.runs[key_of("x")].position == 1
    assert beside.again is None


def test_tries_leave_the_time_to_others(server: MemoryServer, process: LeasedProcess) -> None:
    """Many requests that are held up, each of which takes a second, are tried in turns."""
    server.limit = 1.0
    leases = [begin(process, f"x{number}") for number in range(8)]
    server.locked |= {key_of(f"x{number}") for number in range(8)}
    saves = [process.save(lease, "running", 1) for lease in leases]
    began, commits = server.clock.monotonic(), server.commits
    beside = hold_up(process, *saves)
    first = server.clock.monotonic() - began
    assert first <= 1.0 + 8 * 0.02 + 0.01
    assert server.commits == commits + 1  # That of the run beside them.
    beside.go_on(SECONDS)
    assert beside.done > 0.8 * SECONDS / EACH
    server.locked -= {key_of("x3")}
    beside.go_on(10 * LONGEST)
    assert server.tables.runs[key_of("x3")].position == 1
    assert {server.tables.runs[key_of(f"x{n}")].position for n in (0, 1, 2, 4, 5, 6, 7)} == {0}


def test_heartbeats_between_tries(server: MemoryServer, process: LeasedProcess) -> None:
    """An owner whose only request takes long, and is tried seldom, beats meanwhile."""
    server.limit = server.brief_limit = LEASE / 3
    lease = begin(process, "x")
    server.locked.add(key_of("x"))
    again = process.processor.apply([process.save(lease, "running", 1)])
    owner_id, clock = process.processor.owner_id, server.clock
    beat, beaten_at = server.tables.owners[owner_id].beat, clock.monotonic()
    longest = 0.0
    while again is not None:
        clock.sleep(again.seconds)
        again = process.processor.apply(again.requests)
        if server.tables.owners[owner_id].beat != beat:
            longest = max(longest, clock.monotonic() - beaten_at)
            beat, beaten_at = server.tables.owners[owner_id].beat, clock.monotonic()
    assert clock.monotonic() - beaten_at < LEASE
    assert 0 < longest < LEASE


def test_end_of_patience_with_a_lock(server: MemoryServer, process: LeasedProcess) -> None:
    """The run that is held up ends when patience is over. Nobody waits for its release."""
    lease = begin(process, "x")
    save = process.save(lease, "running", 1)
    server.locked.add(key_of("x"))
    beside = hold_up(process, save)
    beside.go_on(PATIENCE - 2.0)
    assert beside.again is not None
    beside.go_on(4.0)
    assert isinstance(save.error, StoreUnreachableError)
    assert PATIENCE <= save.error.seconds < PATIENCE + 1.0
    gone = release(lease)
    beside.again = process.processor.apply([gone])
    assert gone.error is None
    beside.go_on(LEASE)
    assert beside.longest <= LONGEST
    assert server.tables.runs[key_of("x")].owner is not None
    server.locked.clear()
    beside.go_on(2 * LONGEST)
    assert server.tables.runs[key_of("x")].owner is None
    assert len(process.session.held_tokens) == 1


def test_claim_that_nobody_wants_beside_a_lock(
    server: MemoryServer, process: LeasedProcess
) -> None:
    """A claim whose caller has gone is released, though another request is held up."""
    lease, unwanted = begin(process, "x"), lease_of("y")
    claim = process.claim(unwanted, process.snapshot(unwanted, "running", 0))
    unwanted.released = True
    server.locked.add(key_of("x"))
    again = process.processor.apply([process.save(lease, "running", 1), claim])
    assert outcome_of(claim) == "claimed"
    while again is not None:
        server.clock.sleep(again.seconds)
        again = process.processor.apply(again.requests)
    due = process.processor.idle_timeout()
    assert due is not None
    server.clock.sleep(due + 0.001)
    process.processor.on_idle()
    assert [row.owner for row in server.tables.runs.values() if row.key == key_of("y")] == [None]


def test_release_is_done_while_nothing_else_is(
    server: MemoryServer, process: LeasedProcess
) -> None:
    """A release that was held up is done by an idle process when the lock goes."""
    lease = begin(process, "x")
    server.locked.add(key_of("x"))
    assert process.processor.apply([release(lease)]) is None
    server.locked.clear()
    due = process.processor.idle_timeout()
    assert due is not None
    assert due <= LONGEST
    server.clock.sleep(due + 0.001)
    process.processor.on_idle()
    assert server.tables.runs[key_of("x")].owner is None
    assert process.session.held_tokens == set()


def test_requests_of_one_run_keep_their_order(server: MemoryServer, process: LeasedProcess) -> None:
    """A later request of a run that is held up waits behind the earlier one."""
    lease = begin(process, "x")
    server.locked.add(key_of("x"))
    first, second = process.save(lease, "running", 1), process.save(lease, "finished", 2)
    again = process.processor.apply([first])
    assert again is not None
    server.clock.sleep(again.seconds)
    server.locked.clear()
    assert process.carry_out(*again.requests, second) == [None, None]
    row = server.tables.runs[key_of("x")]
    assert (row.position, row.status, row.owner) == (2, "finished", None)


def test_lost_lease_behind_a_lock(server: MemoryServer, process: LeasedProcess) -> None:
    """A run whose lease was lost while a lock held it up is told so."""
    lease = begin(process, "x")
    save = process.save(lease, "running", 1)
    server.locked.add(key_of("x"))
    again = process.processor.apply([save])
    assert again is not None
    server.locked.clear()
    other = LeasedProcess(server)

    def steal(statements: StoreConnection) -> None:
        statements.free(process.processor.owner_id, "killed")

    other.carry_out(call(steal))
    assert process.carry_out(*again.requests) == [LeaseLostError]


def test_outage_of_what_is_held_up(server: MemoryServer, process: LeasedProcess) -> None:
    """An outage in between changes nothing of what is held up, and of the others."""
    lease, other = begin(process, "x"), begin(process, "y")
    save = process.save(lease, "running", 1)
    server.locked.add(key_of("x"))
    again = process.processor.apply([save])
    assert again is not None
    server.stop()
    beside = process.save(other, "running", 1)
    again = process.processor.apply([*again.requests, beside])
    assert again is not None
    assert not again.at_once
    server.start()
    server.clock.sleep(again.seconds)
    again = process.processor.apply(again.requests)
    assert again is not None
    assert (outcome_of(beside), again.requests) == (None, [save])
    server.locked.clear()
    assert process.carry_out(*again.requests) == [None]


def test_close_forgets_what_is_held_up(server: MemoryServer, process: LeasedProcess) -> None:
    """A process that closes frees all it has. The next session knows nothing of it."""
    lease = begin(process, "x")
    server.locked.add(key_of("x"))
    process.processor.apply([release(lease)])
    server.locked.clear()
    process.processor.close()
    assert server.tables.runs[key_of("x")].owner is None
    begin(process, "x")
    server.clock.sleep(LEASE / 3)
    process.processor.on_idle()
    assert server.tables.runs[key_of("x")].owner is not None
