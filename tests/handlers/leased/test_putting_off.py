"""A writer thread keeps requests that a store out of reach has not answered, in their order."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from memory_store import MemoryHandler, MemoryServer

from aiocheckpoint import CheckpointFlow, StoreUnreachableError
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.leased._writer import Again, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 60.0


class Outage:
    """A processor that cannot carry out anything until it is told that it can."""

    is_in_use = False

    def __init__(self) -> None:
        """Be out of reach."""
        self.over = threading.Event()
        self.tried = threading.Event()
        self.done: list[object] = []

    def apply(self, group: Sequence[PendingResult[Any]]) -> Again | None:
        """Do all, or nothing but the requests that are no text."""
        self.tried.set()
        if self.over.is_set():
            self.done += [pending.request for pending in group]
            return None
        return Again(0.01, [one for one in group if isinstance(one.request, str)])

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the errors."""
        for pending in group:
            pending.error = error

    def idle_timeout(self) -> float | None:
        """Need no call in between."""
        return None

    def on_idle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Record the closing."""
        self.done.append("closed")

    def disconnect(self) -> None:
        """Record the pause."""
        self.done.append("disconnected")

    def reset_after_fork(self) -> None:
        """Do nothing."""


@pytest.fixture
def outage() -> Outage:
    """Make a processor."""
    return Outage()


@pytest.fixture
def writer(outage: Outage) -> Iterator[Writer]:
    """Make a writer, and end its thread."""
    writer = Writer(outage)
    yield writer
    outage.over.set()
    writer.stop(wait=True)


def put(writer: Writer, *requests: object) -> list[PendingResult[Any]]:
    """Queue requests."""
    pending = [PendingResult[Any](request, None) for request in requests]
    for one in pending:
        writer.put(one)
    return pending


def test_order_of_requests(outage: Outage, writer: Writer) -> None:
    """Requests that come in an outage are done behind the earlier ones, each once."""
    first = put(writer, "a", "b")
    assert outage.tried.wait(PATIENCE)
    others = put(writer, "c", 1)
    assert others[1].wait_at_most(PATIENCE)  # What can be done is done.
    assert not first[0].ended
    outage.over.set()
    for pending in (*first, *others):
        assert pending.wait_at_most(PATIENCE)
    assert outage.done == ["a", "b", "c"]


def test_close_in_an_outage(outage: Outage, writer: Writer) -> None:
    """A writer that is told to close does the requests before, and closes then."""
    put(writer, "a")
    assert outage.tried.wait(PATIENCE)
    closing = threading.Thread(target=lambda: writer.stop(wait=True))
    closing.start()
    time.sleep(0.05)
    put(writer, "late")
    time.sleep(0.05)
    assert outage.done == []
    outage.over.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert outage.done[:2] == ["a", "closed"]


def test_many_requests(outage: Outage, writer: Writer) -> None:
    """However many requests come in an outage, each is done once, in their order."""
    pending = put(writer, *(f"{number}" for number in range(1500)))
    outage.over.set()
    for one in pending:
        assert one.wait_at_most(PATIENCE)
    assert outage.done == [f"{number}" for number in range(1500)]


async def test_runs_through_outages() -> None:
    """Runs go on through lost answers, ended sessions and outages, and do no step twice."""
    server, counts = MemoryServer(), dict[tuple[str, str], int]()
    handler = MemoryHandler(server, lease=3.0)
    cp = CheckpointFlow("memory", handler=handler, name="memory")

    def add(name: str) -> None:
        @cp.add_step(name=name)
        async def step(state: dict[str, Any]) -> None:
            key = state["id"], name
            counts[key] = counts.get(key, 0) + 1
            await asyncio.sleep(0.01)

    for name in "abcde":
        add(name)
    runs = [
        asyncio.create_task(cp.arun({"id": f"{number}"}, run_id=f"{number}"))
        for number in range(100)
    ]
    for fault in ("answer", "commit", "statement", "answer"):
        await asyncio.sleep(0.03)
        server.faults.append(fault)
    server.stop()
    await asyncio.sleep(0.2)
    server.start()
    server.read_only = True
    await asyncio.sleep(0.2)
    server.read_only = False
    server.end_sessions()
    await asyncio.gather(*runs)
    assert len(counts) == 500
    assert set(counts.values()) == {1}
    assert cp.handler.count("status")["finished"] == 100
    handler.close()
    assert server.tables.owners == {}


def test_reads_in_an_outage() -> None:
    """A list waits for the store within `patience=`, and fails then. Later it is there."""
    server = MemoryServer()
    handler = MemoryHandler(server, patience=0.2)
    handler.write({"n": 1}, "x")
    server.stop()
    with pytest.raises(StoreUnreachableError):
        handler.count()
    server.start()
    assert handler.count() == 1
    timer = threading.Timer(0.05, server.start)
    server.stop()
    timer.start()
    assert handler.count() == 1
    timer.join()
    handler.close()
