"""The rules of `current_step().connection()`: what a step may not do, and where there is none."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from payments import KINDS, PAY, apay, pay
from psycopg import sql
from support import do_nothing

from aiocheckpoint import (
    FlowDefinitionError,
    OutsideStepError,
    StepTransactionError,
    current_step,
)
from aiocheckpoint._engine import step_transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from payments import Shop
    from support import Runner, State

each_kind = pytest.mark.parametrize("kind", KINDS)

SYNC: dict[str, Callable[[Any], object]] = {
    "commit()": lambda connection: connection.commit(),
    "rollback()": lambda connection: connection.rollback(),
    "close()": lambda connection: connection.close(),
    "autocommit": lambda connection: setattr(connection, "autocommit", True),
    "set_autocommit()": lambda connection: connection.set_autocommit(True),
    "set_read_only()": lambda connection: connection.set_read_only(True),
    "read_only": lambda connection: setattr(connection, "read_only", True),
    "`with`": lambda connection: connection.__enter__(),
    "own SQL": lambda connection: connection.execute("COMMIT"),
    "step's own SQL": lambda connection: connection.execute("SELECT 1; ROLLBACK"),
}
ASYNC: dict[str, Callable[[Any], Awaitable[object]]] = {
    "commit()": lambda connection: connection.commit(),
    "rollback()": lambda connection: connection.rollback(),
    "close()": lambda connection: connection.close(),
    "set_autocommit()": lambda connection: connection.set_autocommit(True),
    "set_read_only()": lambda connection: connection.set_read_only(True),
    "`async with`": lambda connection: connection.__aenter__(),
    "own SQL": lambda connection: connection.execute("COMMIT"),
}


@pytest.mark.parametrize("what", SYNC)
def test_refused_in_sync_functions(shop: Shop, what: str) -> None:
    """The step may not end its transaction, nor take the connection out of it."""

    def step(state: State) -> None:
        pay(state)
        SYNC[what](current_step().connection())

    with pytest.raises(StepTransactionError, match=r"savepoint") as info:
        shop.flow(step).run({}, run_id="r")
    assert what in info.value.problem
    assert info.value.step == "step 0"
    assert shop.header().status == "failed"
    assert what == "own SQL" or shop.paid() == {}


@pytest.mark.parametrize(
    "statements",
    ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "SELECT 1; COMMIT; BEGIN", "ABORT; BEGIN; SELECT 1"],
)
@pytest.mark.parametrize("resets", [False, True])
def test_another_transaction(shop: Shop, statements: str, *, resets: bool) -> None:
    """A transaction that the step's SQL has put in place of its own is not taken for it."""

    def step(state: State) -> None:
        connection = current_step().connection()
        pay(state)
        connection.execute(statements.encode())
        if resets:
            connection.execute("RESET ALL")
        pay(state)

    cp = shop.flow(step, do_nothing)
    with pytest.raises(StepTransactionError, match="own SQL"):
        cp.run({}, run_id="r")
    assert (shop.header().status, shop.header().position) == ("failed", 0)
    assert sum(shop.paid().values()) == (1 if "COMMIT" in statements else 0)


def test_settings_of_the_step(shop: Shop) -> None:
    """A step may reset all settings, and roll back to a savepoint of its own."""

    def step(state: State) -> None:
        connection = current_step().connection()
        connection.execute("SAVEPOINT here; RESET ALL")
        pay(state)
        connection.execute("ROLLBACK TO SAVEPOINT here")
        pay(state)

    shop.flow(step).run({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


def test_time_limit_of_the_step(shop: Shop) -> None:
    """A limit that a step sets for its statements is none for those of the library."""
    locker = psycopg.connect(shop.server.url(shop.database))
    unlock = threading.Timer(1.0, locker.rollback)

    def step(state: State) -> None:
        pay(state)
        current_step().connection().execute("SET statement_timeout = '200ms'")
        locker.execute("SELECT FROM aiocheckpoint.runs WHERE run_id = 'r' FOR UPDATE")
        unlock.start()

    with closing(locker):
        shop.flow(step, patience=5.0).run({}, run_id="r")
        unlock.join()
    assert shop.paid() == {("r", "step 0"): 1}


@pytest.mark.parametrize("what", ASYNC)
async def test_refused_in_coroutines(shop: Shop, what: str) -> None:
    """The same for coroutines."""

    async def step(state: State) -> None:
        await apay(state)
        await ASYNC[what](await current_step().connection())

    with pytest.raises(StepTransactionError, match=r"savepoint") as info:
        await shop.flow(step).arun({}, run_id="r")
    assert what in info.value.problem
    assert what == "own SQL" or shop.paid() == {}


FORGOTTEN = {
    "`async with`": "async with current_step().connection() as connection: pass",
    "`with`": "with current_step().connection() as connection: pass",
    ".execute": "await current_step().connection().execute('SELECT 1')",
    ".transaction": "async with current_step().connection().transaction(): pass",
    ".autocommit": "current_step().connection().autocommit = True",
}


@pytest.mark.parametrize("what", FORGOTTEN)
async def test_forgotten_await(shop: Shop, what: str) -> None:
    """A coroutine that does not await the connection is told how, whatever it does with it."""
    names: dict[str, Any] = {"current_step": current_step}
    exec(f"async def step(state):\n    {FORGOTTEN[what]}", names)  # noqa: S102 - lines of a table
    words = r"did not await it.*connection = await current_step\(\)\.connection\(\)"
    with pytest.raises(StepTransactionError, match=words) as info:
        await shop.flow(names["step"]).arun({}, run_id="r")
    assert what in info.value.problem
    assert (shop.header().status, shop.header().position) == ("failed", 0)


async def test_autocommit_of_coroutines(shop: Shop) -> None:
    """The attribute is refused as the method is."""

    async def step(state: State) -> None:
        connection = await current_step().connection()
        assert connection.autocommit is False
        connection.autocommit = True

    with pytest.raises(StepTransactionError, match="autocommit"):
        await shop.flow(step).arun({}, run_id="r")


def test_end_that_was_passed_over(shop: Shop, runner: Runner) -> None:
    """A step that passes over the error of its own COMMIT is told once more, at its end."""

    def step(state: State) -> None:
        connection = current_step().connection()
        with pytest.raises(StepTransactionError):
            connection.execute("COMMIT")
        with pytest.raises(StepTransactionError):
            connection.execute("BEGIN")

    with pytest.raises(StepTransactionError, match="own SQL"):
        runner(shop.flow(step), {}, run_id="r")
    assert shop.header().status == "failed"


def test_not_awaited(shop: Shop, runner: Runner) -> None:
    """A coroutine that forgot to await the connection is told so."""

    async def step(state: State) -> None:
        current_step().connection().execute("SELECT 1")

    with pytest.raises(StepTransactionError, match=r"await current_step\(\)\.connection\(\)"):
        runner(shop.flow(step), {}, run_id="r")


async def test_sync_on_the_loop(shop: Shop) -> None:
    """With `thread=False` it would block the loop, and is refused under `arun`."""
    cp = shop.flow()
    cp.add_step(name="step 0", thread=False)(pay)
    with pytest.raises(FlowDefinitionError, match="thread=False") as info:
        await cp.arun({}, run_id="r")
    assert info.value.step == "step 0"


def test_sync_on_the_loop_of_nobody(shop: Shop) -> None:
    """Under `run` the same step is called in the caller's thread, and pays."""
    cp = shop.flow()
    cp.add_step(name="step 0", thread=False)(pay)
    cp.run({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}


@each_kind
def test_after_the_attempt(shop: Shop, kind: str, runner: Runner) -> None:
    """A connection that was kept is refused in the next step, whose transaction it may be now."""
    kept: list[Any] = []

    async def first(state: State) -> None:
        kept.append(await current_step().connection())

    def first_sync(state: State) -> None:
        kept.append(current_step().connection())

    async def second(state: State) -> None:
        await apay(state)
        with pytest.raises(StepTransactionError, match="attempt has ended"):
            await kept[0].execute(PAY, ("r", "late"))

    def second_sync(state: State) -> None:
        pay(state)
        with pytest.raises(StepTransactionError, match="attempt has ended"):
            kept[0].execute(PAY, ("r", "late"))

    steps = (first, second) if kind == "coroutine" else (first_sync, second_sync)
    runner(shop.flow(*steps, connections=1), {}, run_id="r")
    assert shop.paid() == {("r", "step 1"): 1}
    assert kept[0].closed


async def test_left_statement(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that the step did not await keeps the attempt from being committed."""
    monkeypatch.setattr(step_transactions, "_USE_SECONDS", 0.2)
    tasks: list[asyncio.Task[None]] = []

    async def sleep() -> None:
        connection = await current_step().connection()
        await connection.execute("SELECT pg_sleep(600)")

    async def step(state: State) -> None:
        await apay(state)
        tasks.append(asyncio.create_task(sleep()))
        await asyncio.sleep(0.05)

    with pytest.raises(StepTransactionError, match="still being executed"):
        await shop.flow(step).arun({}, run_id="r")
    with pytest.raises(psycopg.Error):  # It was cancelled, so that the server holds nothing.
        await tasks[0]
    assert (shop.header().status, shop.paid()) == ("failed", {})


async def test_streams_of_rows(shop: Shop) -> None:
    """Rows that were read to their end harm nobody. psycopg cancels a stream that is left early."""
    leave_at = [3]

    async def on_loop(state: State) -> None:
        connection = await current_step().connection()
        await apay(state)
        # So many that the server is never done with them, where they are left early.
        last = 10**15 if leave_at else 1000
        rows = connection.cursor().stream("SELECT generate_series(1, %s::bigint)", (last,))
        async for (number,) in rows:
            if number in leave_at:
                break
        del rows

    def in_thread(state: State) -> None:
        pay(state)
        assert list(current_step().connection().cursor().stream("SELECT 1")) == [(1,)]

    cp = shop.flow(in_thread, on_loop)
    with pytest.raises(StepTransactionError, match="was cancelled"):
        await cp.arun({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1}
    leave_at.clear()
    await cp.arun(None, run_id="r")
    assert shop.paid() == {("r", "step 0"): 1, ("r", "step 1"): 1}


def test_server_watches_its_client(shop: Shop, runner: Runner) -> None:
    """The server ends the statement of a client that has gone, and with it the locks."""

    def step(state: State) -> None:
        shown = current_step().connection().execute("SHOW client_connection_check_interval")
        state["interval"] = shown.fetchone()

    assert runner(shop.flow(step), {}, run_id="r") == {"interval": ("2s",)}


def test_pipeline_and_copy(shop: Shop, runner: Runner) -> None:
    """Pipelines, COPY and cursors on the server work as in any transaction of psycopg."""

    async def first(state: State) -> None:
        connection = await current_step().connection()
        async with connection.pipeline():
            for number in range(3):
                await connection.execute(PAY, ("r", f"pipeline {number}"))
        async with connection.cursor() as cursor, cursor.copy("COPY payments FROM STDIN") as copy:
            await copy.write_row(("r", "copied"))

    def second(state: State) -> None:
        connection = current_step().connection()
        with connection.cursor("named") as cursor:
            cursor.execute("SELECT count(*) FROM payments")
            state["paid"] = cursor.fetchone()
        connection.cursor().executemany(PAY, [("r", "many"), ("r", "many")])

    assert runner(shop.flow(first, second), {}, run_id="r") == {"paid": (4,)}
    assert shop.paid()["r", "many"] == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process(shop: Shop, runner: Runner) -> None:
    """A forked process has no step, and is refused the connection that it inherited."""

    def ask(queue: Any, connection: Any) -> None:  # noqa: ANN401
        for call in (lambda: current_step().connection(), lambda: connection.execute("SELECT 1")):
            try:
                call()
            except (OutsideStepError, StepTransactionError) as error:
                queue.put(str(error))

    def step(state: State) -> None:
        connection = current_step().connection()
        pay(state)
        context = multiprocessing.get_context("fork")
        queue: Any = context.SimpleQueue()
        child = context.Process(target=ask, args=(queue, connection))
        child.start()
        state["told"] = [queue.get(), queue.get()]
        child.join()
        connection.execute(PAY, ("r", "behind the fork"))

    state = runner(shop.flow(step, do_nothing, pay), {}, run_id="r")
    assert "forked" in state["told"][0]
    assert "its parent's" in state["told"][1]
    assert len(shop.paid()) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_run_in_a_forked_process(shop: Shop) -> None:
    """A forked process makes connections of its own for its own runs."""
    cp = shop.flow(pay, connections=1)
    cp.run({}, run_id="parent")

    def run() -> None:
        cp.run({}, run_id="child")
        cp.handler.close()

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    assert child.exitcode == 0
    cp.run({}, run_id="parent again")
    assert set(shop.paid()) == {(name, "step 0") for name in ("parent", "child", "parent again")}


def test_thread_without_the_context(shop: Shop, runner: Runner) -> None:
    """A thread that has not the context of the step has no step."""
    errors: list[Exception] = []

    def ask() -> None:
        try:
            current_step().connection()
        except OutsideStepError as error:
            errors.append(error)

    def step(state: State) -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    runner(shop.flow(step), {}, run_id="r")
    assert len(errors) == 1


VALUE = "pay 4711 to Ann"
LITERAL = "UPDATE payments SET run = 'pay 4711 to Ann'"
UNAWAITED: dict[str, Callable[[Any], object]] = {
    "execute": lambda connection: connection.execute("UPDATE payments SET run = %s", (VALUE,)),
    "a literal": lambda connection: connection.execute(LITERAL),
    "bytes": lambda connection: connection.execute(b"UPDATE payments SET run = 4711"),
    "composed": lambda connection: connection.execute(
        sql.SQL("UPDATE payments SET run = {}").format(VALUE)
    ),
    "a cursor": lambda connection: connection.cursor().execute(LITERAL),
    "many": lambda connection: connection.cursor().executemany(
        "UPDATE payments SET run = %s", [(VALUE,)]
    ),
}


@pytest.mark.filterwarnings("ignore:coroutine 'execute' was never awaited")
@pytest.mark.parametrize("how", UNAWAITED)
async def test_statement_that_is_not_awaited(shop: Shop, how: str) -> None:
    """A statement without `await` ends the step with an error that names it, without its values."""

    async def step(state: State) -> None:
        await apay(state)
        connection = await current_step().connection()
        UNAWAITED[how](connection)

    cp = shop.flow(step)
    with pytest.raises(StepTransactionError, match="begins with 'UPDATE payments SET run'") as told:
        await cp.arun({}, run_id="r")
    assert "await" in str(told.value)
    assert "4711" not in str(told.value)
    assert shop.paid() == {}


async def test_statements_that_are_awaited_in_other_ways(shop: Shop) -> None:
    """Tasks, groups and cursors of one's own await statements as well."""

    async def step(state: State) -> None:
        connection = await current_step().connection()
        one = asyncio.create_task(connection.execute(PAY, ("r", "task")))
        await one
        await asyncio.gather(*[connection.execute(PAY, ("r", name)) for name in "ab"])
        await asyncio.wait_for(connection.execute(PAY, ("r", "limited")), 60)
        async with connection.cursor() as cursor:
            await cursor.executemany(PAY, [("r", "c"), ("r", "d")])
            await cursor.execute("SELECT count(*) FROM payments", binary=True)
            ((state["count"],),) = await cursor.fetchall()

    assert await shop.flow(step).arun({}, run_id="r") == {"count": 6}
    assert len(shop.paid()) == 6
