"""A cancelled run does not wait for a server that is away, frozen or cut off."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aiocheckpoint import CheckpointFlow, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy

PATIENCE = 60.0
LIMIT = 20.0
"""Seconds. A bound against hanging, below the patience."""
HIDDEN = "hunter2-of-the-shop"


class Shop:
    """A flow whose steps wait at a gate.

    Attributes:
        cp: The flow.
        gates: Let the first step of a run end.
        begun: The runs that have begun it.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        """Make it."""
        self.cp = CheckpointFlow(url, name="orders", patience=patience)
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

        @self.cp.add_step()
        async def first(state: dict[str, Any]) -> None:
            self.begun.append(state["id"])
            await self.gates.setdefault(state["id"], asyncio.Event()).wait()
            state["first"] = True

        @self.cp.add_step()
        async def second(state: dict[str, Any]) -> None:
            state["second"] = True

    async def start(self, *runs: str) -> list[asyncio.Task[dict[str, Any]]]:
        """Start runs, and wait until they are in their first step."""
        tasks = [asyncio.create_task(self.cp.arun({"id": run}, run_id=run)) for run in runs]
        async with asyncio.timeout(LIMIT):
            while not set(runs) <= set(self.begun):  # noqa: ASYNC110 - the steps add to it
                await asyncio.sleep(0.01)
        return tasks

    def end_step(self, *runs: str) -> None:
        """Let the first step of runs end."""
        for run in runs:
            self.gates[run].set()

    async def resume(self, *runs: str) -> None:
        """Resume runs to their end."""
        self.gates = {run: asyncio.Event() for run in runs}
        self.end_step(*runs)
        results = await asyncio.gather(*(self.cp.arun(run_id=run, wait=LIMIT) for run in runs))
        assert all(state["second"] for state in results)


@pytest.fixture
def shop(proxy: TcpProxy, postgres: PostgresServer, database: str) -> Iterator[Shop]:
    """Give a flow whose connections go through a proxy."""
    made = Shop(postgres.url(database, host=proxy.place))
    with closing(made.cp.handler):
        yield made


def go(proxy: TcpProxy) -> None:
    """Let the server be gone: its connections are broken, and new ones refused."""
    proxy.refuse()
    proxy.cut()


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_the_server_is_gone(shop: Shop, proxy: TcpProxy) -> None:
    """Runs that are cancelled behind a step, within a step and before their claim end soon."""
    behind, within = await shop.start("behind", "within")
    go(proxy)
    shop.end_step("behind")
    before = asyncio.create_task(shop.cp.arun({"id": "before"}, run_id="before"))
    await asyncio.sleep(0.5)
    for task in (behind, within, before):
        await ended(task)
    async with asyncio.timeout(LIMIT):
        assert await shop.cp.adrain() == []
    proxy.accept()
    await shop.cp.handler.aclose()


async def test_cancelled_scope(shop: Shop, proxy: TcpProxy) -> None:
    """A run in a cancel scope of anyio's ends soon as well, and is resumed later."""
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(_lose_server, shop, proxy, scope)
                await shop.cp.arun({"id": "a"}, run_id="a")
    assert scope.cancelled_caught
    proxy.accept()
    await shop.resume("a")


async def _lose_server(shop: Shop, proxy: TcpProxy, scope: anyio.CancelScope) -> None:
    while not shop.begun:  # noqa: ASYNC110 - the step adds to it
        await asyncio.sleep(0.01)
    await asyncio.to_thread(go, proxy)
    shop.end_step("a")
    await asyncio.sleep(0.5)
    scope.cancel()


async def test_a_frozen_connection(
    proxy: TcpProxy, postgres: PostgresServer, database: str
) -> None:
    """Of a frozen connection, what was sent is waited for, and what was not is withdrawn."""
    shop = Shop(postgres.url(database, host=proxy.place), patience=3.0)
    with closing(shop.cp.handler):
        sent, queued = await shop.start("sent", "queued")
        proxy.freeze()
        shop.end_step("sent")
        await asyncio.sleep(0.2)  # The writer thread waits for the answer.
        shop.end_step("queued")
        await asyncio.sleep(0.1)
        await ended(queued)
        await ended(sent)
        proxy.thaw()
        await shop.resume("sent", "queued")


async def test_an_outage_is_logged_once(
    shop: Shop, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred runs in an outage make two records, and all of them end when it is over."""
    runs = [str(number) for number in range(100)]
    tasks = await shop.start(*runs)
    with caplog.at_level(logging.INFO, "aiocheckpoint"):
        go(proxy)
        shop.end_step(*runs)
        await asyncio.sleep(2.0)
        proxy.accept()
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*tasks)
    records = [record for record in caplog.records if "reach" in record.getMessage()]
    assert [record.levelname for record in records] == ["WARNING", "INFO"]
    assert "100 requests" in records[1].getMessage()


async def test_no_password_is_told(
    proxy: TcpProxy, postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error nor the log of an outage has the password of the URL."""
    url = postgres.url(database, host=proxy.place).replace("postgres@", f"postgres:{HIDDEN}@")
    shop = Shop(url, patience=1.0)
    with closing(shop.cp.handler):
        (task,) = await shop.start("a")
        go(proxy)
        shop.end_step("a")
        with pytest.raises(StoreUnreachableError) as info:
            await asyncio.wait_for(task, LIMIT)
    told = [str(info.value), repr(info.value), *info.value.__notes__, caplog.text]
    assert database in told[0]
    assert not any(HIDDEN in text for text in told)


def test_ctrl_c(own_postgres: PostgresServer) -> None:
    """Ctrl-C ends a `run` whose server was stopped, and the run is resumed when it is back."""
    cp = CheckpointFlow(own_postgres.url(), name="orders", patience=PATIENCE)
    stopped = threading.Event()

    @cp.add_step()
    def first(state: dict[str, Any]) -> None:
        if not stopped.is_set():
            own_postgres.stop("immediate")
            stopped.set()

    def strike() -> None:
        assert stopped.wait(LIMIT)
        time.sleep(0.5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with closing(cp.handler):
        striking = threading.Thread(target=strike)
        striking.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            cp.run({"id": 1}, run_id="a")
        assert time.monotonic() - began < LIMIT
        striking.join()
        own_postgres.start()
        assert cp.run(run_id="a", wait=LIMIT) == {"id": 1}


async def test_lists_and_reads_wait(shop: Shop, proxy: TcpProxy) -> None:
    """Lists and reads wait for the end of an outage, and a cancelled one leaves no thread."""
    (task,) = await shop.start("a")
    go(proxy)
    listing = asyncio.create_task(shop.cp.aruns())
    counting = asyncio.create_task(shop.cp.acount())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(shop.cp.aruns(), 0.3)
    proxy.accept()
    async with asyncio.timeout(LIMIT):
        assert [header.run_id for header in await listing] == ["a"]
        await counting
        shop.end_step("a")
        await task
