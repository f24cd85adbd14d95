"""What the simulation of leased stores has found: owners that were robbed, and late statements."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from leased_processes import LEASE, HandClock, LeasedProcess, call, lease_of, release
from memory_store import MemoryServer, Row

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import LeaseRecord


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
    claim = process.claim(lease, process.snapshot(lease, "running", 0))
    assert process.carry_out(claim) == ["claimed"]
    return lease


def free_all(process: LeasedProcess) -> None:
    """Look for owners that are gone, as recovery does."""
    process.carry_out(call(process.processor.expire_dead))


@pytest.mark.parametrize("commits_alone", [True, False])
def test_claim_behind_a_robbery(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, *, commits_alone: bool
) -> None:
    """An owner that was taken for gone has a row again with its next run, and is found if it dies.

    Its next heartbeat is not due yet: the clock of a suspended machine stands still.
    """
    monkeypatch.setattr("memory_store.MemoryConnection.commits_alone", commits_alone)
    owner, asker = LeasedProcess(server), LeasedProcess(server)
    begin(owner, "x")
    owner_id = owner.processor.owner_id
    asker.carry_out(call(lambda statements: statements.free(owner_id, "killed")))
    assert owner_id not in server.tables.owners
    begin(owner, "y")
    assert owner_id in server.tables.owners
    owner.session.connection.close()  # It dies.
    for _ in range(3):
        free_all(asker)
        server.clock.sleep(0.5)
    assert row_of(server, "y").owner is None


def test_equal_start_of_another_owner(server: MemoryServer) -> None:
    """A claim that is repeated counts its start, though another owner has recorded an equal one."""
    first, second = LeasedProcess(server), LeasedProcess(server)
    assert first.carry_out(first.save(begin(first, "x"), "failed", 1)) == [None]
    server.faults.append("commit")
    again = first.processor.apply([first.claim(lease_of("x"))])
    lease = lease_of("x")
    assert second.carry_out(second.claim(lease)) == ["claimed"]
    before = json.loads(row_of(server, "x").start or "")["starts"]
    second.carry_out(release(lease))
    assert again is not None
    assert first.carry_out(*again.requests) == ["claimed"]
    assert json.loads(row_of(server, "x").start or "")["starts"] == before + 1


def test_start_that_was_counted(server: MemoryServer) -> None:
    """A claim that is repeated counts its start once, if the answer to the first try was lost."""
    process = LeasedProcess(server)
    assert process.carry_out(process.save(begin(process, "x"), "failed", 1)) == [None]
    server.faults.append("answer")
    assert process.carry_out(process.claim(lease_of("x"))) == ["claimed"]
    assert json.loads(row_of(server, "x").start or "")["starts"] == 2


@pytest.mark.parametrize(("shows_sessions", "longest"), [(True, 0.25), (False, LEASE / 6)])
def test_pauses_of_an_owner(server: MemoryServer, *, shows_sessions: bool, longest: float) -> None:
    """An owner tries to connect often enough, however long the store has been out of reach.

    A server that is read-only for a while gives owners no more time than its half a second.
    """
    server.shows_sessions = shows_sessions
    process = LeasedProcess(server)
    lease = begin(process, "x")
    server.read_only = True
    save = process.save(lease, "running", 1)
    for _ in range(12):
        again = process.processor.apply([save])
        assert again is not None
        assert again.seconds <= longest
    process.processor.on_idle()
    due = process.processor.idle_timeout()
    assert due is not None
    assert due <= longest


def test_late_step(server: MemoryServer) -> None:
    """A step that arrives behind the next one changes nothing, unless it ends the run."""
    process = LeasedProcess(server)
    lease = begin(process, "x")
    step, late = process.save(lease, "running", 2), process.save(lease, "running", 1)
    assert process.carry_out(step) == [None]
    connection = process.session.connection
    assert connection.save_steps([late.request]) == 0
    assert connection.save_statuses([late.request], "") == 0
    assert row_of(server, "x").position == 2
    assert connection.save_statuses([process.save(lease, "stopped", 1).request], "") == 1


def test_owner_of_a_run_that_nobody_wants(server: MemoryServer) -> None:
    """A process with a claim to release connects as soon as an owner of runs does."""
    process = LeasedProcess(server, patience=5.0)
    server.faults.append("answer")
    again = process.processor.apply([process.claim(lease_of("x"))])
    server.stop()
    while again is not None:  # Nobody hears that the run is claimed.
        server.clock.sleep(again.seconds)
        again = process.processor.apply(again.requests)
    pauses: list[float] = []
    again = process.processor.apply([process.claim(lease_of("y"))])
    for _ in range(6):
        assert again is not None
        pauses.append(again.seconds)
        server.clock.sleep(again.seconds)
        again = process.processor.apply(again.requests)
    assert max(pauses) <= 0.2
