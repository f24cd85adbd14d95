"""Callers hear what other processes do to runs: they end, are due, or are to be terminated.

Handlers whose URLs differ have owners and connections of their own, as two processes have.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, RunInProgressError, RunTerminatedError
from aiocheckpoint._engine import claimed_runs, locking
from aiocheckpoint._runs import working
from aiocheckpoint.handlers import Query
from aiocheckpoint.handlers._store_threads import threads_of
from aiocheckpoint.handlers.leased._client import StoreClient
from aiocheckpoint.handlers.leased._listener import release_notice
from aiocheckpoint.handlers.leased._requests import Claim
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.handlers.postgres._connection import PostgresConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

    from aiocheckpoint.handlers.leased._notices import Notices

LIMIT = 30.0
"""Seconds. A bound against hanging."""
NEVER = 10_000.0
SOON = 0.1
LEASE = 1.5


class Process:
    """A flow with connections and an owner of its own.

    Attributes:
        cp: The flow.
        gate: Lets the step end.
        begun: The runs that have begun.
    """

    def __init__(self, url: str, name: str, lease: float = 30.0) -> None:
        """Make it."""
        mark = "&" if "?" in url else "?"
        place = f"{url}{mark}application_name={name}"
        self.cp = CheckpointFlow(place, name="orders", lease=lease)
        self.gate = threading.Event()
        self.begun: list[str | None] = []

        @self.cp.add_step()
        async def only(state: dict[str, Any]) -> None:
            self.begun.append(state["id"])
            while not self.gate.is_set():  # noqa: ASYNC110 - another loop may set it
                await asyncio.sleep(0.01)
            state["by"] = name

    @property
    def handler(self) -> PostgresStateHandler:
        """Its handler."""
        assert isinstance(self.cp.handler, PostgresStateHandler)
        return self.cp.handler

    @property
    def notices(self) -> Notices:
        """What it hears."""
        notices: Notices = vars(self.handler)["_client"].notices
        return notices

    def close(self) -> None:
        """Close its connections, when no look is left whose caller has gone."""
        deadline = time.monotonic() + LIMIT
        while threads_of(self.handler).is_busy and time.monotonic() < deadline:
            time.sleep(0.01)
        self.handler.close()

    def start(self, run_id: str, **options: Any) -> asyncio.Task[dict[str, Any]]:  # noqa: ANN401
        """Start a run in a task."""
        return asyncio.create_task(self.cp.arun({"id": run_id}, run_id=run_id, **options))

    async def until_hearing(self) -> None:
        """Wait until notices are heard."""
        await until(lambda: self.notices.is_connected)

    async def until_known(self, run_id: str) -> None:
        """Wait until it is known here that somebody waits for a run."""
        notice = release_notice((b"orders", run_id.encode()))
        await until(lambda: self.notices.is_awaited(notice))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - other threads change it
            await asyncio.sleep(0.01)


@pytest.fixture
def owner(store_url: str) -> Iterator[Process]:
    """Give the process that has the runs."""
    with closing(Process(store_url, "owner")) as made:
        yield made


@pytest.fixture
def other(store_url: str) -> Iterator[Process]:
    """Give another process.

    Its name for the host makes the locations of its runs others, so that nothing wakes it here.
    """
    with closing(Process(store_url.replace("127.0.0.1", "localhost"), "other")) as made:
        made.gate.set()
        yield made


@pytest.fixture
def soon_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that has runs look soon for requests, and so listen soon."""
    monkeypatch.setattr(claimed_runs, "LOOK_SECONDS", SOON)


@pytest.fixture
def waiters_ask_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no caller ask for a run by itself, so that only a notice wakes it."""
    monkeypatch.setattr(PostgresStateHandler, "seconds_between_claims", lambda *_: NEVER)
    monkeypatch.setattr(locking, "_POLL_SECONDS", NEVER)  # Nor when a lease is all but over.


async def wait_for_run(owner: Process, other: Process) -> asyncio.Task[dict[str, Any]]:
    """Let one process wait for a run of the other one, which knows of that."""
    task = owner.start("a")
    await until(lambda: owner.begun == ["a"])
    await owner.until_hearing()
    waiting = asyncio.create_task(other.cp.arun({"id": "a"}, run_id="a", wait=NEVER))
    await owner.until_known("a")
    owner.gate.set()
    assert (await task)["by"] == "owner"
    return waiting


@pytest.mark.usefixtures("soon_looking", "waiters_ask_never")
async def test_the_end_of_a_run_wakes_its_waiter(owner: Process, other: Process) -> None:
    """A caller that waits for a run of another process begins when that one ends."""
    waiting = await wait_for_run(owner, other)
    assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "other"


@pytest.mark.usefixtures("soon_looking", "waiters_ask_never")
async def test_a_failed_run_wakes_its_waiter(owner: Process, other: Process) -> None:
    """A run that ends in another way wakes as well, and so does a release without an end."""
    owner.cp.add_step(name="fails")(_fail)
    other.cp.add_step(name="fails")(lambda state: None)
    task = owner.start("a")
    await until(lambda: owner.begun == ["a"])
    await owner.until_hearing()
    waiting = asyncio.create_task(other.cp.aresume("a", wait=NEVER))
    await owner.until_known("a")
    owner.gate.set()
    with pytest.raises(ZeroDivisionError):
        await task
    assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "owner"


def _fail(state: dict[str, Any]) -> None:
    raise ZeroDivisionError


@pytest.mark.usefixtures("soon_looking", "waiters_ask_never")
async def test_a_closed_process_wakes_waiters(owner: Process, other: Process) -> None:
    """A process that gives all its runs back wakes the callers that wait for any of them."""
    lock = owner.handler.lock("a")
    await asyncio.to_thread(lock.acquire)
    waiting = asyncio.create_task(other.cp.arun({"id": "a"}, run_id="a", wait=NEVER))
    await other.until_hearing()
    await asyncio.sleep(SOON)
    assert not waiting.done()
    await asyncio.to_thread(owner.handler.close)
    assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "other"


@pytest.mark.usefixtures("waiters_ask_never")
async def test_runs_of_a_dead_owner_wake_waiters(other: Process, store_url: str) -> None:
    """Who frees the runs of an owner that was killed wakes the callers that wait for them."""
    with closing(Process(store_url, "finder", lease=LEASE)) as finder:
        await finder.cp.aruns()
        killed = await asyncio.to_thread(own_and_die, store_url)
        waiting = asyncio.create_task(other.cp.arun({"id": "a"}, run_id="a", wait=NEVER))
        await other.until_hearing()
        await asyncio.sleep(SOON)
        assert not waiting.done()
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, killed, 0)
        deadline = time.monotonic() + LIMIT
        while not waiting.done() and time.monotonic() < deadline:
            await asyncio.to_thread(finder.handler.runs, Query(unowned=True))
        assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "other"


def own_and_die(url: str) -> int:
    """Fork a process that has a run until it is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        process = Process(url, "dies", lease=LEASE)
        process.handler.lock("a").acquire()
        os.write(writing, b"!")
        time.sleep(LIMIT)
        os._exit(1)
    assert os.read(reading, 1) == b"!"
    os.close(reading)
    os.close(writing)
    return child


@pytest.mark.usefixtures("soon_looking", "waiters_ask_never")
def test_a_blocked_caller_is_woken(owner: Process, other: Process) -> None:
    """A caller that blocks its thread is woken as well."""
    found: list[dict[str, Any]] = []

    def wait() -> None:
        found.append(other.cp.run({"id": "a"}, run_id="a", wait=NEVER))

    async def own() -> None:
        task = owner.start("a")
        await until(lambda: owner.begun == ["a"])
        await owner.until_hearing()
        waiting.start()
        await owner.until_known("a")
        owner.gate.set()
        await task

    waiting = threading.Thread(target=wait, daemon=True)
    asyncio.run(own())
    waiting.join(LIMIT)
    assert found
    assert found[0]["by"] == "other"


async def work(process: Process, done: list[str | None]) -> None:
    """Work until the flow is drained, and note the runs."""
    async for result in process.cp.awork():
        done += [result.run_id]


async def test_a_queued_run_wakes_a_worker(
    owner: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker takes a run that another process queues, and one that it queues again."""
    monkeypatch.setattr(working, "_LOOK_SECONDS", NEVER)
    done: list[str | None] = []
    worker = asyncio.create_task(work(other, done))
    await other.until_hearing()
    await asyncio.sleep(3 * SOON)  # It has looked, and is idle.
    await owner.cp.asubmit({"id": "first"}, run_id="first")
    await until(lambda: done == ["first"])
    await owner.cp.asubmit({"id": "later"}, run_id="later", due=timedelta(days=1))
    await asyncio.sleep(3 * SOON)
    await owner.cp.asubmit({"id": "last"}, run_id="last")
    await until(lambda: done == ["first", "last"])
    await owner.cp.aterminate("later", "no")
    await asyncio.sleep(3 * SOON)
    await owner.cp.arequeue("later")
    await until(lambda: done == ["first", "last", "later"])
    await other.cp.adrain()
    await worker


async def test_a_drained_run_wakes_a_worker(
    owner: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a drain has stopped goes on in a worker of another process at once."""
    monkeypatch.setattr(working, "_LOOK_SECONDS", NEVER)
    for each in (owner, other):
        each.cp.add_step(name="last")(lambda state: None)
    task = owner.start("a")
    await until(lambda: owner.begun == ["a"])
    done: list[str | None] = []
    worker = asyncio.create_task(work(other, done))
    await other.until_hearing()
    draining = asyncio.create_task(owner.cp.adrain())
    await asyncio.sleep(SOON)
    owner.gate.set()
    await draining
    await asyncio.wait([task])
    await until(lambda: done == ["a"])
    await other.cp.adrain()
    await worker


async def test_a_request_to_terminate_is_heard(
    owner: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is terminated from another process, though its own looks for requests no more."""
    monkeypatch.setattr(claimed_runs, "LOOK_SECONDS", SOON)
    task = owner.start("a")
    await until(lambda: owner.begun == ["a"])
    await owner.until_hearing()
    waits, ends = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waits.set()
        ends.wait()

    monkeypatch.setattr(claimed_runs, "time", SimpleNamespace(sleep=sleep))
    try:
        assert await asyncio.to_thread(waits.wait, LIMIT)
        await other.cp.aterminate("a", "enough")
        with pytest.raises(RunTerminatedError, match="enough"):
            await asyncio.wait_for(task, LIMIT)
    finally:
        ends.set()


async def test_steps_tell_nothing(
    owner: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs for which nobody waits tell nothing: neither their steps nor their ends."""
    told: list[object] = []
    monkeypatch.setattr(PostgresConnection, "notify", lambda *_, **given: told.append(given))
    for number in range(5):
        owner.cp.add_step(name=f"step {number}")(lambda state: None)
    owner.gate.set()
    await asyncio.gather(*(owner.start(str(number)) for number in range(50)))
    with suppress(RunInProgressError):
        await other.cp.arun({"id": "0"}, run_id="0")
    assert told == []


async def test_many_waiters_ask_seldom(
    owner: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred callers that wait for a hundred runs ask about once a second each."""
    runs = [str(number) for number in range(100)]
    locks = [owner.handler.lock(run) for run in runs]
    for lock in locks:
        await asyncio.to_thread(lock.acquire)
    claims: list[str] = []
    ask = StoreClient.ask

    def counted(self: StoreClient, request: Any, loop: Any) -> Any:  # noqa: ANN401
        if isinstance(request, Claim):
            claims.append(request.lease.location)
        return ask(self, request, loop)

    monkeypatch.setattr(StoreClient, "ask", counted)
    began = time.monotonic()
    tasks = [other.start(run, wait=3.0) for run in runs]
    await asyncio.wait(tasks)
    passed = time.monotonic() - began
    # The first claim, the one at the end, and one every 0.8 s at most.
    assert len(claims) <= len(runs) * (2 + passed / 0.8 + 1)
    assert all(isinstance(task.exception(), RunInProgressError) for task in tasks)
    for lock in locks:
        await asyncio.to_thread(lock.release)


async def test_a_lost_connection_costs_time_alone(
    owner: Process, other: Process, postgres: PostgresServer
) -> None:
    """Where the connection that listens is ended again and again, callers look by themselves."""
    task = owner.start("a")
    await until(lambda: owner.begun == ["a"])
    waiting = asyncio.create_task(other.cp.arun({"id": "a"}, run_id="a", wait=LIMIT))
    ends = threading.Event()

    def keep_ending() -> None:
        while not ends.wait(0.01):
            postgres.terminate_backends("query LIKE 'LISTEN%' OR query LIKE '%pg_notify%'")

    ending = threading.Thread(target=keep_ending)
    ending.start()
    owner.gate.set()
    await asyncio.wait_for(task, LIMIT)
    assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "other"
    ends.set()
    await asyncio.to_thread(ending.join)


async def test_behind_a_pooler(pooler: PgBouncer, store_url: str) -> None:
    """Behind a pooler nobody listens, and callers look: for ends, for work and for requests."""
    url = pooler.url(schema=store_url.rpartition("schema=")[2])
    with (
        closing(Process(url, "owner")) as owner,
        closing(Process(url.replace("127.0.0.1", "localhost"), "other")) as other,
    ):
        other.gate.set()
        task = owner.start("a")
        await until(lambda: owner.begun == ["a"])
        waiting = asyncio.create_task(other.cp.arun({"id": "a"}, run_id="a", wait=LIMIT))
        await asyncio.sleep(SOON)
        owner.gate.set()
        await task
        assert (await asyncio.wait_for(waiting, LIMIT))["by"] == "other"
        owner.gate.clear()
        ended = owner.start("b")
        await until(lambda: owner.begun == ["a", "b"])
        await other.cp.aterminate("b", "enough", wait=LIMIT)
        with pytest.raises(RunTerminatedError):
            await ended
        await owner.cp.asubmit({"id": "c"}, run_id="c")
        async for result in other.cp.awork(until_empty=True):
            assert result.run_id == "c"
        assert not owner.notices.is_connected
        assert not other.notices.is_connected
