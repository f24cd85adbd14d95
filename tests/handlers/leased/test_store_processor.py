"""The processor of a leased store: who waits, who fails, who is taken for gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from leased_processes import LEASE, HandClock, LeasedProcess, call, lease_of, release
from memory_store import MemoryServer, MemoryStore, Row, Tables

from aiocheckpoint import LeaseLostError, RunInProgressError, StorageError, StoreUnreachableError
from aiocheckpoint._concurrency.stalls import StalledError

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import LeaseRecord, StoreConnection

HEARTBEAT = LEASE / 3


@pytest.fixture
def server() -> MemoryServer:
    """Start a server whose clock is set by hand."""
    return MemoryServer(HandClock())


def row_of(server: MemoryServer, run_id: str) -> Row:
    """The row of a run."""
    return server.tables.runs[b"f", run_id.encode()]


def begin(process: LeasedProcess, run_id: str) -> LeaseRecord:
    """Begin a run."""
    lease = lease_of(run_id)
    (seen,) = process.carry_out(process.claim(lease, process.snapshot(lease, "running", 0)))
    assert seen == "claimed"
    return lease


def go_on(process: LeasedProcess, seconds: float) -> None:
    """Let time pass, in which the process does what is due."""
    clock = process.server.clock
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        due = process.processor.idle_timeout()
        clock.sleep(left if due is None else min(due, left))
        process.processor.on_idle()


def succeed(process: LeasedProcess, run_id: str, within: float) -> float | None:
    """Ask for a run ten times a second. Give the seconds that it took, None for too long."""
    clock = process.server.clock
    asked_at = clock.monotonic()
    while clock.monotonic() - asked_at < within:
        if process.carry_out(process.claim(lease_of(run_id))) == ["claimed"]:
            return clock.monotonic() - asked_at
        clock.sleep(0.1)
        process.processor.on_idle()
    return None


def test_end_of_patience(server: MemoryServer) -> None:
    """Requests end when patience is over. A claim without an answer is released later."""
    process = LeasedProcess(server, patience=5.0)
    lease, new = begin(process, "x"), lease_of("new")
    server.faults.append("answer")
    asked_at = server.clock.monotonic()

    def stop(_: Tables) -> None:
        server.reachable = False

    server.before_commit = stop  # The claim is committed, and nobody hears of it.
    seen = process.carry_out(process.claim(new, process.snapshot(new, "running", 0)))
    assert seen == [StoreUnreachableError]
    assert 4.5 < server.clock.monotonic() - asked_at < 7.0
    assert process.carry_out(process.save(lease, "running", 1)) == [StoreUnreachableError]
    server.before_commit = str
    server.start()
    assert row_of(server, "new").owner is not None
    process.processor.on_idle()
    assert row_of(server, "new").owner is None
    assert process.carry_out(process.save(lease, "running", 1)) == [None]


def test_release_waits_for_nothing(server: MemoryServer) -> None:
    """A release ends at once while the store is out of reach, and is done when it is back."""
    process = LeasedProcess(server)
    lease = begin(process, "x")
    server.stop()
    assert process.processor.apply([release(lease)]) is None
    server.start()
    go_on(process, 2.0)
    assert row_of(server, "x").owner is None
    assert process.session.held_tokens == set()


def test_withdrawn_requests(server: MemoryServer) -> None:
    """A request that was withdrawn before it was sent is not sent. A release always is."""
    process = LeasedProcess(server)
    lease, other = begin(process, "x"), begin(process, "y")
    server.stop()
    save = process.save(lease, "running", 1)
    again = process.processor.apply([save])
    assert again is not None
    assert save.withdraw()
    gone = release(other)
    assert gone.withdraw()
    server.start()
    assert process.carry_out(*again.requests, gone) == [StalledError, None]
    assert row_of(server, "x").position == 0
    assert row_of(server, "y").owner is None


def test_sent_requests_stay(server: MemoryServer) -> None:
    """A request whose answer was lost cannot be withdrawn: it may have been carried out."""
    process = LeasedProcess(server)
    save = process.save(begin(process, "x"), "running", 1)
    server.faults.append("answer")
    again = process.processor.apply([save])
    assert again is not None
    assert not save.withdraw()
    assert process.carry_out(*again.requests) == [None]


def test_requests_surely_not_sent_are_given_back(server: MemoryServer) -> None:
    """A request whose transaction broke before its commit can be withdrawn again."""
    process = LeasedProcess(server)
    save = process.save(begin(process, "x"), "running", 1)
    server.faults.append("statement")
    again = process.processor.apply([save])
    assert again is not None
    assert save.withdraw()
    assert process.carry_out(*again.requests) == [StalledError]


def test_a_wish_that_came_early(server: MemoryServer) -> None:
    """A caller whose request is under way when it goes is let go once nothing was sent."""
    process = LeasedProcess(server)
    save = process.save(begin(process, "x"), "running", 1)
    early: list[bool] = []
    server.before_commit = lambda _: early.append(save.withdraw())
    server.faults.append("statement")
    assert process.processor.apply([save]) is not None
    assert not early
    save = process.save(begin(process, "y"), "running", 1)
    assert save.take()
    assert not save.withdraw()
    save.give_back()
    server.stop()
    assert process.processor.apply([save]) is None
    assert isinstance(save.error, StalledError)


def test_requests_in_doubt_stay_taken_through_failed_connections(server: MemoryServer) -> None:
    """A request that may be stored is not given back because later tries reached nobody."""
    process = LeasedProcess(server)
    save = process.save(begin(process, "x"), "running", 1)
    server.faults.append("answer")
    again = process.processor.apply([save])
    assert again is not None
    server.stop()
    for _ in range(3):
        again = process.processor.apply(again.requests)
        assert again is not None
        assert not save.withdraw()
    server.start()
    assert process.carry_out(*again.requests) == [None]
    assert row_of(server, "x").position == 1


def refuse_large(tables: Tables) -> None:
    """Refuse a transaction with a large payload, as a database does with a value too large."""
    if any(len(row.payload) > 10_000 for row in tables.runs.values()):
        raise StorageError("memory", "a value is too large")


@pytest.mark.parametrize("faults", [(), ("answer",), ("commit", "answer")])
def test_one_bad_request(server: MemoryServer, faults: tuple[Any, ...]) -> None:
    """A request that the store refuses fails alone, also while answers are lost."""
    process = LeasedProcess(server)
    leases = [begin(process, f"run {number}") for number in range(5)]
    saves = [process.save(lease, "running", 1) for lease in leases]
    saves[2].request.payload = bytes(20_000)
    server.before_commit = refuse_large
    server.faults.extend(faults)
    refused = process.claim(lease_of("run 0"))
    seen = process.carry_out(*saves, refused)
    assert seen == [None, None, StorageError, None, None, RunInProgressError]
    positions = [row_of(server, f"run {number}").position for number in range(5)]
    assert positions == [1, 1, 0, 1, 1]


def test_store_that_refuses_connections(server: MemoryServer) -> None:
    """A store that cannot be used as it is fails all requests by one try, and no other is made."""
    process, tries = LeasedProcess(server), list[str]()
    lease = begin(process, "x")
    process.processor.disconnect()

    def refuse(_: MemoryStore, *, writes: bool) -> Any:  # noqa: ANN401 - nothing
        tries.append(f"{writes}")
        raise StorageError("memory", "the password is wrong")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryStore, "connect", refuse)
        seen = process.carry_out(process.save(lease, "running", 1), process.claim(lease_of("y")))
    assert seen == [StorageError, StorageError]
    assert tries == ["True"]
    assert process.carry_out(process.save(lease, "running", 1)) == [None]


def test_function_that_fails(server: MemoryServer) -> None:
    """A function that raises writes nothing, and the requests beside it are done."""
    process = LeasedProcess(server)
    lease, other = begin(process, "x"), begin(process, "y")

    def fail(connection: StoreConnection) -> None:
        connection.delete(other)
        raise LeaseLostError("y")

    saves = process.save(lease, "running", 1), process.save(other, "running", 1)
    assert process.carry_out(saves[0], call(fail), saves[1]) == [None, LeaseLostError, None]
    assert row_of(server, "y").position == 1


def test_lost_connection_of_an_idle_process(server: MemoryServer) -> None:
    """A process whose connection was ended has a new session within a quarter of a second."""
    process = LeasedProcess(server)
    begin(process, "x")
    (owner,) = server.tables.owners.values()
    server.end_sessions()
    go_on(process, 0.25)
    (again,) = server.tables.owners.values()
    assert again.session in server.sessions
    assert (again.id, again.session != owner.session) == (owner.id, True)


@pytest.mark.parametrize("shows_sessions", [True, False])
def test_living_owner_after_an_outage(server: MemoryServer, *, shows_sessions: bool) -> None:
    """An outage that is longer than a lease robs no living owner, however eager an asker is."""
    server.shows_sessions = shows_sessions
    owner, asker = LeasedProcess(server), LeasedProcess(server, patience=1000.0)
    lease = begin(owner, "x")
    assert asker.carry_out(asker.claim(lease_of("x"))) == [RunInProgressError]
    server.stop()
    for _ in range(10):
        server.clock.sleep(LEASE)
        again = asker.processor.apply([asker.claim(lease_of("x"))])
        assert again is not None
        owner.processor.on_idle()
    server.start()
    for _ in range(8):  # The owner is back after two seconds.
        assert asker.carry_out(asker.claim(lease_of("x"))) == [RunInProgressError]
        server.clock.sleep(0.25)
    assert owner.carry_out(owner.save(lease, "running", 1)) == [None]


@pytest.mark.parametrize(("shows_sessions", "longest"), [(True, 1.0), (False, 1.3 * LEASE)])
def test_dead_owner(server: MemoryServer, *, shows_sessions: bool, longest: float) -> None:
    """The run of a dead owner is free after half a second, behind a pooler after its lease."""
    server.shows_sessions = shows_sessions
    owner, asker = LeasedProcess(server), LeasedProcess(server)
    begin(owner, "x")
    begin(asker, "mine")
    owner.session.connection.close()  # It never comes back.
    seconds = succeed(asker, "x", 100.0)
    assert seconds is not None
    assert (0.5 if shows_sessions else LEASE) <= seconds <= longest
    assert row_of(server, "x").owner == asker.processor.owner_id


def test_stopped_owner(server: MemoryServer) -> None:
    """The run of an owner that stands still is free after its lease. Awake, it stores nothing."""
    owner, asker = LeasedProcess(server), LeasedProcess(server)
    lease = begin(owner, "x")
    begin(asker, "mine")
    seconds = succeed(asker, "x", 100.0)
    assert seconds is not None
    assert LEASE <= seconds <= 1.3 * LEASE
    late = owner.save(lease, "running", 1), owner.save(lease, "finished", 2)
    assert owner.carry_out(*late) == [LeaseLostError, LeaseLostError]
    assert row_of(server, "x").position == 0


def test_end_of_a_process(server: MemoryServer) -> None:
    """A process that closes gives its runs back, and its row with them."""
    process, other = LeasedProcess(server), LeasedProcess(server)
    begin(process, "x")
    process.processor.close()
    assert server.tables.owners == {}
    assert server.sessions == set()
    assert other.carry_out(other.claim(lease_of("x"))) == ["claimed"]


def test_row_of_an_owner_that_was_deleted(server: MemoryServer) -> None:
    """An owner without a row has a lease to beat again. Then its runs are free."""
    process, other = LeasedProcess(server), LeasedProcess(server)
    begin(process, "x")
    server.tables.owners.clear()
    assert other.carry_out(other.claim(lease_of("x"))) == [RunInProgressError]
    go_on(process, HEARTBEAT)
    assert process.processor.owner_id in server.tables.owners
    server.tables.owners.clear()
    took = succeed(other, "x", 2 * LEASE)
    assert took is not None
    assert took > LEASE / 2


def test_looks_at_all_beside_an_owner_without_a_row(server: MemoryServer) -> None:
    """A process that also looks at all owners, as recovery does, still finds that one gone."""
    process, other = LeasedProcess(server), LeasedProcess(server)
    begin(process, "x")
    server.tables.owners.clear()
    claimed, until = list[object](), server.clock.monotonic() + 2 * LEASE
    while "claimed" not in claimed and server.clock.monotonic() < until:
        other.carry_out(call(other.processor.expire_dead))
        claimed = other.carry_out(other.claim(lease_of("x")))
        server.clock.sleep(HEARTBEAT / 2)
    assert claimed == ["claimed"]


def test_own_row_is_missing(server: MemoryServer) -> None:
    """A process whose machine was suspended keeps the runs that it begins before its next beat."""
    process, other = LeasedProcess(server), LeasedProcess(server)
    begin(process, "x")
    other.carry_out(call(lambda statements: statements.free(process.processor.owner_id, "killed")))
    lease = begin(process, "y")  # Its clock has stood still, so that no heartbeat is due.
    for asker in (process, other):
        claim = asker.claim(lease_of("y"))
        assert asker.carry_out(claim) == [RunInProgressError]
    assert process.carry_out(process.save(lease, "running", 1)) == [None]


def test_run_of_this_process(server: MemoryServer) -> None:
    """A refused claim of a run of this process says so, and gives no time to wait for."""
    process = LeasedProcess(server)
    begin(process, "x")
    claim = process.claim(lease_of("x"))
    assert process.carry_out(claim) == [RunInProgressError]
    assert isinstance(claim.error, RunInProgressError)
    assert (claim.error.pid, claim.error.lease_left) == (os.getpid(), None)
    assert "this very process" in str(claim.error)


def test_owner_in_the_error(server: MemoryServer) -> None:
    """A refused claim names the owner's process, and the seconds that are left of its lease."""
    process, other = LeasedProcess(server), LeasedProcess(server)
    begin(process, "x")
    claim = other.claim(lease_of("x"))
    other.carry_out(claim)
    assert isinstance(claim.error, RunInProgressError)
    owner = server.tables.owners[process.processor.owner_id]
    assert (claim.error.pid, claim.error.host) == (owner.pid, owner.host)
    assert claim.error.lease_left == LEASE
