"""Transactions of steps through lost leases, lost answers, and servers that come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from payments import KINDS, PATIENCE, SLEEPING, Shop, apay, pay, payer, until
from support import do_nothing
from tcp_proxy import TcpProxy, tcp_proxy

from aiocheckpoint import (
    LeaseLostError,
    StepTransactionError,
    StoreUnreachableError,
    current_step,
    events,
)
from aiocheckpoint.handlers.postgres._run_store import PostgresRunStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from postgres_server import PostgresServer
    from support import Runner, State

each_kind = pytest.mark.parametrize("kind", KINDS)
IN_COMMIT = r"payments.*\bCOMMIT\b"
STEAL = "UPDATE aiocheckpoint.runs SET owner = NULL, token = 0"


@pytest.fixture
def far_shop(postgres: PostgresServer, database: str, proxy: TcpProxy) -> Generator[Shop]:
    """Give a shop whose flows reach the server through a proxy."""
    made = Shop(postgres, database, postgres.url(database, host=proxy.place))
    yield made
    made.close()


@pytest.fixture
def own_proxy(own_postgres: PostgresServer) -> Generator[TcpProxy]:
    """Give a proxy before the test's own server."""
    with tcp_proxy(own_postgres.port) as started:
        yield started


@pytest.fixture
def far_own_shop(own_postgres: PostgresServer, own_proxy: TcpProxy) -> Generator[Shop]:
    """Give a shop on a server of the test's own, whose flows reach it through a proxy."""
    name = own_postgres.create_database()
    made = Shop(own_postgres, name, own_postgres.url(name, host=own_proxy.place))
    yield made
    made.close()


@pytest.fixture
def own_shop(own_postgres: PostgresServer) -> Generator[Shop]:
    """Give a shop on a server of the test's own."""
    name = own_postgres.create_database()
    made = Shop(own_postgres, name, own_postgres.url(name))
    yield made
    made.close()


def counting(kind: str, calls: list[int], behind: Callable[[], object]) -> Any:  # noqa: ANN401
    """Make a step that pays and notes its attempts."""

    def note() -> None:
        calls.append(current_step().attempt)
        behind()

    return payer(kind, note)


@each_kind
def test_lost_lease(shop: Shop, kind: str, runner: Runner) -> None:
    """A run that was taken over pays nothing: its fence rolls the transaction back."""
    cp = shop.flow(payer(kind, lambda: shop.sql(STEAL)), do_nothing)
    with pytest.raises(LeaseLostError):
        runner(cp, {"id": 1}, run_id="r")
    assert shop.paid() == {}
    assert cp.handler.read("r") == {"id": 1, "checkpoint_index": 0}
    cp = shop.flow(payer(kind), do_nothing)
    assert runner(cp, None, run_id="r") == {"id": 1, "paid": 1}
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
@pytest.mark.parametrize("last", [False, True], ids=["in between", "last"])
def test_lost_answer(
    far_shop: Shop, proxy: TcpProxy, kind: str, *, last: bool, runner: Runner
) -> None:
    """Where the answer to the commit is lost, it is found that the payment is made."""
    calls: list[int] = []
    step = counting(kind, calls, lambda: losses.append(proxy.lose_answers(IN_COMMIT)))
    losses: list[Any] = []
    cp = far_shop.flow(step, *([] if last else [do_nothing]))
    assert runner(cp, {}, run_id="r") == {"paid": 1}
    assert losses[0].happened()
    assert (calls, far_shop.paid()) == ([1], {("r", "step 0"): 1})
    assert far_shop.header().status == "finished"
    # The lease is released: the run can be started anew.
    calls.clear()
    proxy.losses = []
    runner(cp, {}, run_id="r")
    assert calls == [1]


@each_kind
@pytest.mark.parametrize("retry", [None, 2], ids=["no policy", "policy"])
def test_lost_commit(
    far_shop: Shop, proxy: TcpProxy, kind: str, retry: int | None, runner: Runner
) -> None:
    """Where the commit is lost on its way, the step is executed again, whole, and pays once."""
    calls: list[int] = []
    loaded: list[State] = []

    def load(state: State) -> State:
        loaded.append(dict(state))
        return {}

    def lose_once() -> None:
        if len(calls) == 1:
            proxy.lose_requests(IN_COMMIT)

    cp = far_shop.flow()
    cp.add_step(name="step 0", load=load, retry=retry)(counting(kind, calls, lose_once))
    assert runner(cp, {"id": 1}, run_id="r", load_policy="always") == {"id": 1, "paid": 1}
    assert (calls, far_shop.paid()) == ([1, 2], {("r", "step 0"): 1})
    assert loaded == [{"id": 1}] * 2
    failed = [one for one in far_shop.events if isinstance(one, events.AttemptFailed)]
    assert [(one.part, one.attempt) for one in failed] == [("snapshot", 1)]
    assert [type(one.error) for one in failed] == [StoreUnreachableError]
    assert far_shop.header().status == "finished"
    far_shop.events.clear()


@pytest.mark.parametrize("pattern", [r"payments.*UPDATE \S+runs", "payments.*RESET ROLE"])
@pytest.mark.parametrize("what", ["answers", "requests"])
def test_lost_before_the_commit(far_shop: Shop, proxy: TcpProxy, pattern: str, what: str) -> None:
    """A connection that breaks before the commit has paid nothing, and the step is repeated."""
    calls: list[int] = []

    def lose_once() -> None:
        if len(calls) == 1:
            getattr(proxy, f"lose_{what}")(pattern)

    cp = far_shop.flow(counting("sync", calls, lose_once), do_nothing)
    assert cp.run({}, run_id="r") == {"paid": 1}
    assert (calls, far_shop.paid()) == ([1, 2], {("r", "step 0"): 1})
    far_shop.events.clear()


async def test_cut_while_the_server_commits(far_shop: Shop, proxy: TcpProxy) -> None:
    """A look waits for a commit that the server has not ended, and does not take it for lost."""
    calls: list[int] = []
    far_shop.slow_commits(1.0)
    cp = far_shop.flow(counting("coroutine", calls, lambda: None), do_nothing)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await asyncio.to_thread(until, far_shop.is_committing)
    proxy.cut()
    await task
    assert (calls, far_shop.paid()) == ([1], {("r", "step 0"): 1})


def test_interrupted_commit(shop: Shop) -> None:
    """Ctrl-C in the commit leaves payment and snapshot both, or neither."""
    shop.slow_commits(1.0)
    cp = shop.flow(pay, do_nothing)

    def interrupt() -> None:
        until(shop.is_committing)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="r")
    thread.join()
    header = shop.header()
    assert (header.status, len(shop.paid())) == ("cancelled", header.position)
    cp.run(None, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


def test_interrupted_step(shop: Shop) -> None:
    """Ctrl-C in the step, and in a statement of it, pays nothing."""
    cp = shop.flow(pay, sleep_in_a_statement)

    def interrupt() -> None:
        until(lambda: shop.sql(SLEEPING) == [(1,)])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="r")
    thread.join()
    assert (shop.header().status, shop.paid()) == ("cancelled", {("r", "step 0"): 1})
    until(lambda: shop.sql(SLEEPING) == [(0,)])


def sleep_in_a_statement(state: State) -> None:
    """Pay, and let the server sleep."""
    pay(state)
    current_step().connection().execute("SELECT pg_sleep(600)")


def test_loop_that_was_closed(shop: Shop) -> None:
    """A run whose loop was closed under it leaves its connection and its locks to others."""
    paid = threading.Event()

    async def step(state: State) -> None:
        await apay(state)
        paid.set()
        if state["hangs"]:
            await asyncio.Event().wait()

    cp = shop.flow(step, connections=1)

    async def begin() -> None:
        tasks.append(asyncio.create_task(cp.arun({"hangs": True}, run_id="left")))
        while not paid.is_set():  # noqa: ASYNC110 - an event of a loop would hold the loop
            await asyncio.sleep(0.01)

    tasks: list[asyncio.Task[State]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    tasks.pop()._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
    gc.collect()
    cp.run({"hangs": False}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_lost_in_the_step(shop: Shop, kind: str, runner: Runner) -> None:
    """A step whose connection is ended by an administrator is executed again."""
    calls: list[int] = []

    def end_once() -> None:
        if len(calls) == 1:
            shop.server.terminate_backends("state ~ 'in transaction'")

    async def on_loop(state: State) -> None:
        await apay(state)
        calls.append(current_step().attempt)
        end_once()
        await apay(state)

    def in_thread(state: State) -> None:
        pay(state)
        calls.append(current_step().attempt)
        end_once()
        pay(state)

    step: Any = on_loop if kind == "coroutine" else in_thread
    runner(shop.flow(step, do_nothing), {}, run_id="r")
    assert (calls, shop.paid()) == ([1, 2], {("r", "step 0"): 2})
    (failed,) = [one for one in shop.events if isinstance(one, events.AttemptFailed)]
    assert isinstance(failed.error, psycopg.OperationalError)
    shop.events.clear()


@each_kind
def test_lost_each_time(shop: Shop, kind: str, runner: Runner) -> None:
    """A step that loses its connection each time is repeated as long as patience lasts."""
    calls: list[int] = []

    def end() -> None:
        shop.server.terminate_backends("state ~ 'in transaction'")

    cp = shop.flow(counting(kind, calls, end), patience=1.0)
    with pytest.raises(StoreUnreachableError):
        runner(cp, {}, run_id="r")
    assert 2 <= len(calls) <= 7  # The pauses of 0.05, 0.1, 0.2 s and so on are within a second.
    assert calls == list(range(1, len(calls) + 1))
    assert shop.paid() == {}
    shop.events.clear()


@pytest.mark.parametrize(
    ("kind", "end"), [("coroutine", "fast"), ("sync", "immediate"), ("coroutine", "kill")]
)
async def test_server_that_restarts(own_shop: Shop, kind: str, end: str) -> None:
    """Steps that are under way when the server goes down are executed again when it is back."""
    calls: list[int] = []
    server = own_shop.server

    def restart_once() -> None:
        if len(calls) == 1:
            if end == "kill":
                server.kill()
                server.start()
            else:
                server.restart("fast" if end == "fast" else "immediate")

    cp = own_shop.flow(counting(kind, calls, restart_once), payer(kind))
    assert await cp.arun({}, run_id="r") == {"paid": 2}
    assert calls == [1, 2]
    assert own_shop.paid() == {("r", "step 0"): 1, ("r", "step 1"): 1}
    own_shop.events.clear()


def test_idle_connections_of_a_restarted_server(own_shop: Shop) -> None:
    """Connections that are kept for the next step and have ended meanwhile are replaced."""

    def restart(state: State) -> None:
        own_shop.server.restart()

    own_shop.flow(pay, restart, pay).run({}, run_id="r")
    assert set(own_shop.paid().values()) == {1}
    assert not [one for one in own_shop.events if isinstance(one, events.AttemptFailed)]
    own_shop.events.clear()


class Outage:
    """The answer to the next commit of a payment is lost, and the server is down from then on."""

    def __init__(self, shop: Shop, proxy: TcpProxy) -> None:
        """Begin nothing yet."""
        self._server, self._proxy = shop.server, proxy
        self.has_begun = threading.Event()

    def plan(self) -> None:
        """Let it begin at the next commit."""
        loss = self._proxy.lose_answers(IN_COMMIT)

        def stop_behind() -> None:
            assert loss.happened()
            self._server.stop()
            self.has_begun.set()

        threading.Thread(target=stop_behind).start()

    def end(self) -> None:
        """Start the server again."""
        assert self.has_begun.wait(PATIENCE)
        self._server.start()


@each_kind
async def test_out_of_reach_at_the_commit(
    far_own_shop: Shop, own_proxy: TcpProxy, kind: str
) -> None:
    """Where nobody can tell whether it is committed, the run ends, and the store knows later."""
    calls: list[int] = []
    outage = Outage(far_own_shop, own_proxy)
    step = counting(kind, calls, outage.plan)
    cp = far_own_shop.flow(step, do_nothing, patience=1.0)
    with pytest.raises(StoreUnreachableError):
        await cp.arun({}, run_id="r")
    outage.end()
    assert far_own_shop.paid() == {("r", "step 0"): 1}
    assert far_own_shop.header().position == 1
    assert await cp.arun(None, run_id="r", wait=PATIENCE) == {"paid": 1}
    assert (calls, far_own_shop.paid()) == ([1], {("r", "step 0"): 1})


async def test_commit_that_ends_after_the_run(
    far_shop: Shop, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation is not recorded over a commit that the server has not ended."""
    record, records = PostgresRunStore.update_header, list[str]()
    with closing(psycopg.connect(far_shop.server.url(far_shop.database))) as holder:
        holder.execute("SELECT pg_advisory_lock(99)")
        far_shop.delay_commits("pg_advisory_xact_lock(99)")

        def record_soon(store: PostgresRunStore, *arguments: Any) -> bool:  # noqa: ANN401
            records.append(store.location)
            proxy.accept()
            threading.Timer(0.5, holder.close).start()
            return record(store, *arguments)

        monkeypatch.setattr(PostgresRunStore, "update_header", record_soon)
        cp = far_shop.flow(payer("coroutine"), do_nothing)
        task = asyncio.create_task(cp.arun({}, run_id="r"))
        await asyncio.to_thread(until, far_shop.is_committing)
        proxy.refuse()
        proxy.cut()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert records
        await asyncio.to_thread(until, lambda: not far_shop.is_committing())
    assert far_shop.paid() == {("r", "step 0"): 1}
    assert (far_shop.header().status, far_shop.header().position) == ("running", 1)


async def test_cancelled_while_nobody_can_tell(far_own_shop: Shop, own_proxy: TcpProxy) -> None:
    """A run that is cancelled while it looks for its commit ends soon. What is stored counts."""
    outage = Outage(far_own_shop, own_proxy)
    cp = far_own_shop.flow(payer("coroutine", outage.plan), do_nothing)
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    assert await asyncio.to_thread(outage.has_begun.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), PATIENCE / 2)
    outage.end()
    assert far_own_shop.header().position == 1
    assert await cp.arun(None, run_id="r", wait=PATIENCE) == {"paid": 1}
    assert far_own_shop.paid() == {("r", "step 0"): 1}


async def test_frozen_network(far_shop: Shop, proxy: TcpProxy) -> None:
    """A network that is frozen for a moment at the commit costs time alone."""

    def freeze() -> None:
        proxy.freeze()
        threading.Timer(0.5, proxy.thaw).start()

    await far_shop.flow(payer("coroutine", freeze), do_nothing).arun({}, run_id="r")
    assert far_shop.paid() == {("r", "step 0"): 1}
    assert not [one for one in far_shop.events if isinstance(one, events.AttemptFailed)]


async def test_cancelled_in_a_frozen_network(far_shop: Shop, proxy: TcpProxy) -> None:
    """A run that is cancelled then ends soon, and has paid nothing that is not stored."""
    frozen = asyncio.Event()

    def freeze_once() -> None:
        if not frozen.is_set():
            proxy.freeze()
            frozen.set()

    cp = far_shop.flow(payer("coroutine", freeze_once))
    task = asyncio.create_task(cp.arun({}, run_id="r"))
    await frozen.wait()
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), PATIENCE / 2)
    proxy.thaw()
    await cp.arun(None, run_id="r", wait=PATIENCE)
    assert far_shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_no_connection_is_to_be_had(own_shop: Shop, kind: str, runner: Runner) -> None:
    """A step that asks while the server is down waits for it, and fails behind its patience."""
    calls: list[int] = []
    server = own_shop.server

    def stop_once() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            server.stop()
        if len(calls) == 2:
            server.stop()
            threading.Timer(0.3, server.start).start()

    async def on_loop(state: State) -> None:
        stop_once()
        await apay(state)

    def in_thread(state: State) -> None:
        stop_once()
        pay(state)

    cp = own_shop.flow(on_loop if kind == "coroutine" else in_thread, patience=1.0)
    with pytest.raises(StoreUnreachableError):
        runner(cp, {}, run_id="r")
    server.start()
    assert own_shop.paid() == {}
    cp = own_shop.flow(on_loop if kind == "coroutine" else in_thread)
    runner(cp, None, run_id="r", wait=PATIENCE)
    assert (calls, own_shop.paid()) == ([0, 1], {("r", "step 0"): 1})


def make_read_only(state: State) -> None:
    """Make the transaction read-only."""
    current_step().connection().execute("SET TRANSACTION READ ONLY")


def stand_idle(state: State) -> None:
    """Let the transaction stand idle for longer than the server allows, and go on with it."""
    pay(state)
    connection = current_step().connection()
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
    time.sleep(0.2)
    if state["goes on"]:
        pay(state)


def close_it(state: State) -> None:
    """Close the connection below psycopg."""
    pay(state)
    current_step().connection().pgconn.finish()
    if state["goes on"]:
        pay(state)


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("step", [stand_idle, close_it])
def test_ended_because_of_the_step(
    shop: Shop, step: Callable[[State], None], *, goes_on: bool
) -> None:
    """A connection that ends because of what the step does is its failure, and not repeated."""
    error = psycopg.Error if goes_on else StepTransactionError
    with pytest.raises(error):
        shop.flow(step).run({"goes on": goes_on}, run_id="r")
    assert not [one for one in shop.events if isinstance(one, events.AttemptFailed)]
    assert (shop.header().status, shop.paid()) == ("failed", {})


def test_read_only_transaction(shop: Shop, runner: Runner) -> None:
    """A step that makes its transaction read-only is told so, and not repeated."""
    with pytest.raises(StepTransactionError, match="read-only"):
        runner(shop.flow(make_read_only), {}, run_id="r")
    assert not [one for one in shop.events if isinstance(one, events.AttemptFailed)]
