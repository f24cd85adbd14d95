"""`current_step().connection()`: the step's own SQL is committed together with its snapshot."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from payments import KINDS, PAY, apay, pay, payer
from psycopg.rows import dict_row
from support import do_nothing

from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from payments import Shop
    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer
    from support import Runner, State

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_one_commit(shop: Shop, kind: str, any_runner: Runner) -> None:
    """The payment and the snapshot appear together, behind the step."""
    seen: list[tuple[int, int]] = []

    def look(*_: State) -> None:
        seen.append((len(shop.paid()), shop.header().position))

    cp = shop.flow(payer(kind, look), look)
    assert any_runner(cp, {"id": 1}, run_id="r") == {"id": 1, "paid": 1}
    assert seen == [(0, 0), (1, 1)]
    assert (shop.header().status, shop.paid()) == ("finished", {("r", "step 0"): 1})


@each_kind
def test_step_without_and_with(shop: Shop, kind: str, runner: Runner) -> None:
    """Steps with and without a transaction take turns, and the last snapshot finishes the run."""
    cp = shop.flow(do_nothing, payer(kind), do_nothing, payer(kind))
    for run_id in ("r", "s"):
        assert runner(cp, {}, run_id=run_id) == {"paid": 2}
    assert sum(shop.paid().values()) == 4
    assert (shop.header().status, shop.header("s").status) == ("finished", "finished")
    # The lease ended with the commit, so that the run can be started anew at once.
    assert runner(cp, {}, run_id="r") == {"paid": 2}


def test_without_a_run_id(shop: Shop, runner: Runner) -> None:
    """A run without an id has transactions too."""
    cp = shop.flow(pay, apay)
    assert runner(cp, {}) == {}
    assert shop.paid() == {("", "step 0"): 1, ("", "step 1"): 1}


def test_one_transaction_for_all_parts(shop: Shop, runner: Runner) -> None:
    """Loader, step and saver have the same transaction, whatever their kinds are."""
    ids: list[int] = []

    async def load(state: State) -> State:
        connection = await current_step().connection()
        rows = await (await connection.execute("SELECT pg_current_xact_id()::text")).fetchall()
        ids.append(int(rows[0][0]))
        assert isinstance(connection, psycopg.AsyncConnection)
        assert connection is await current_step().connection()
        return {}

    def step(state: State) -> None:
        connection = current_step().connection()
        ids.extend(int(one) for (one,) in connection.execute("SELECT pg_current_xact_id()::text"))
        assert isinstance(connection, psycopg.Connection)
        assert connection is current_step().connection()
        connection.execute(PAY, ("r", "step"))

    async def save(state: State) -> None:
        connection = await current_step().connection()
        counted = await connection.execute("SELECT count(*) FROM payments")
        assert await counted.fetchall() == [(1,)]
        rows = await (await connection.execute("SELECT pg_current_xact_id()::text")).fetchall()
        ids.append(int(rows[0][0]))

    cp = shop.flow()
    cp.add_step(load=load, save=save)(step)
    runner(cp, {}, run_id="r")
    assert len(ids) == 3
    assert len(set(ids)) == 1
    (stored,) = shop.sql("SELECT xmin::text::int FROM aiocheckpoint.runs")[0]
    assert stored == ids[0]


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a coroutine function, as decorators of other packages do."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:  # noqa: ANN401
        return function(*args)

    return call


class Payer:
    """A callable object whose call is a coroutine."""

    async def __call__(self, state: State) -> None:
        """Pay."""
        await apay(state)


async def pay_for(name: str, state: State) -> None:
    """Pay, as a function of more than a state."""
    await apay(state)


def plain(state: State) -> object:
    """Return an awaitable that pays, and pay before."""
    pay(state)
    return apay(state)


@pytest.mark.parametrize(
    ("step", "payments"),
    [
        (decorated(apay), 1),
        (Payer(), 1),
        (functools.partial(pay_for, "x"), 1),
        (plain, 2),
        (lambda state: apay(state), 1),  # noqa: PLW0108 - a lambda is the case
    ],
    ids=["decorated", "object", "partial", "plain", "lambda"],
)
def test_kinds_of_functions(
    shop: Shop, step: Callable[..., Any], payments: int, any_runner: Runner
) -> None:
    """What is awaited gets a connection for coroutines, and a sync body one for sync calls."""
    cp = shop.flow(step)
    any_runner(cp, {}, run_id="r")
    assert shop.paid() == {("r", "step 0"): payments}


def test_sync_step_with_a_loop_of_its_own(shop: Shop, any_runner: Runner) -> None:
    """A sync step that runs a loop gets a connection for sync calls, on that loop too."""

    async def inner() -> None:
        current_step().connection().execute(PAY, ("r", "inner"))

    def step(state: State) -> None:
        def run_loop() -> None:
            asyncio.run(inner())

        thread = threading.Thread(target=contextvars.copy_context().run, args=(run_loop,))
        thread.start()
        thread.join()

    any_runner(shop.flow(step), {}, run_id="r")
    assert shop.paid() == {("r", "inner"): 1}


async def test_several_tasks(shop: Shop) -> None:
    """Tasks of a step that ask at the same time share one connection."""

    async def step(state: State) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(apay(state))

    await shop.flow(step, connections=1).arun({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 5}


async def test_helper_in_a_thread(shop: Shop) -> None:
    """A helper of a sync step in another thread of its context shares its connection."""

    async def helpers(state: State) -> None:
        await asyncio.gather(*(asyncio.to_thread(pay, state) for _ in range(3)))

    def step(state: State) -> None:
        asyncio.run(helpers(state))

    await shop.flow(step, connections=1).arun({}, run_id="r")
    assert shop.paid() == {("r", "step 0"): 3}


def test_savepoints(shop: Shop, runner: Runner) -> None:
    """A block of `connection.transaction()` is a savepoint: it is undone alone."""

    async def first(state: State) -> None:
        connection = await current_step().connection()
        async with connection.transaction():
            await connection.execute(PAY, ("r", "kept"))
        with suppress(psycopg.errors.NotNullViolation):
            async with connection.transaction():
                await connection.execute(PAY, ("r", "undone"))
                await connection.execute(PAY, ("r", None))

    def second(state: State) -> None:
        connection = current_step().connection()
        with connection.transaction(force_rollback=True):
            connection.execute(PAY, ("r", "undone"))
        connection.execute(PAY, ("r", "also kept"))

    runner(shop.flow(first, second), {}, run_id="r")
    assert shop.paid() == {("r", "kept"): 1, ("r", "also kept"): 1}


def test_nothing_is_left_for_the_next_step(shop: Shop, runner: Runner) -> None:
    """Settings, temporary tables, locks, plans and row factories of a step end with it."""

    def first(state: State) -> None:
        connection = current_step().connection()
        connection.row_factory = dict_row  # type: ignore[assignment]
        connection.execute("SET search_path = pg_temp; SET ROLE pg_monitor; SET my.tenant = 'a'")
        connection.execute("SET statement_timeout = 1; SET LOCAL lock_timeout = 1")
        connection.execute("SELECT 1", prepare=True)
        connection.execute("RESET statement_timeout; RESET ROLE")
        connection.execute("CREATE TEMP TABLE t (n int); SELECT pg_advisory_lock(7)")
        state["pid"] = connection.info.backend_pid

    def second(state: State) -> None:
        connection = current_step().connection()
        assert state["pid"] == connection.info.backend_pid
        row = connection.execute(
            "SELECT current_setting('search_path'), current_user, to_regclass('t'), "
            "current_setting('my.tenant', true), current_setting('statement_timeout'), "
            "current_setting('lock_timeout'), "
            "current_setting('idle_in_transaction_session_timeout'), "
            "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7)"
        ).fetchone()
        assert row == ('"$user", public', "postgres", None, "", "0", "0", "0", 0)
        connection.execute("SELECT 1", prepare=True)

    runner(shop.flow(first, second, connections=1), {}, run_id="r")


@pytest.mark.parametrize(
    "setting",
    [
        "LOCAL ROLE pg_monitor",
        "LOCAL SESSION AUTHORIZATION pg_monitor",
        "LOCAL statement_timeout = 1",
    ],
)
def test_role_and_limits_of_the_step(shop: Shop, setting: str) -> None:
    """A role or a time limit that a step has set does not keep its snapshot from being stored."""

    def step(state: State) -> None:
        pay(state)
        current_step().connection().execute(f"SET {setting}".encode())

    shop.flow(step).run({}, run_id="r")
    assert shop.header().status == "finished"


@pytest.mark.parametrize("keep", [3, "all"])
def test_history(shop: Shop, keep: Any, runner: Runner) -> None:  # noqa: ANN401
    """Older snapshots are kept and deleted as behind other steps."""
    cp = shop.flow(*[pay, apay] * 3, keep=keep)
    runner(cp, {}, run_id="r")
    assert [header.position for header in cp.history("r")] == (
        [0, 5, 4] if keep == 3 else [0, 5, 4, 3, 2, 1, 0]
    )
    kept = shop.sql("SELECT count(*) FROM aiocheckpoint.kept")
    assert kept == [(2 if keep == 3 else 6,)]


def test_cursor_of_a_step(shop: Shop, runner: Runner) -> None:
    """The cursor of a broken attempt is handed on, and deleted by the commit of the step."""
    broken = [True]

    def step(state: State) -> None:
        here = current_step()
        pay(state)
        state["cursor"] = here.cursor
        here.progress(1, 2, cursor={"at": 1})
        if broken.pop() if broken else False:
            raise ValueError

    cp = shop.flow(step, do_nothing)
    with pytest.raises(ValueError):  # noqa: PT011
        runner(cp, {}, run_id="r")
    assert shop.sql("SELECT count(*) FROM aiocheckpoint.progress") == [(1,)]
    assert runner(cp, None, run_id="r", until="step 0") == {"cursor": {"at": 1}}
    assert shop.sql("SELECT count(*) FROM aiocheckpoint.progress") == [(0,)]
    assert shop.paid() == {("r", "step 0"): 1}


def test_large_and_odd_states(shop: Shop, runner: Runner) -> None:
    """States that are encoded in a thread are stored in the transaction as well."""
    value = {"large": b"x" * 3_000_000, "set": {1, 2}, "function": lambda: 1}

    def step(state: State) -> None:
        pay(state)
        state.update(value)

    cp = shop.flow(step, do_nothing, secret=b"x" * 32)
    runner(cp, {}, run_id="r", until="step 0")
    read = cp.handler.read("r")
    assert (read["large"], read["set"], read["function"]()) == (value["large"], value["set"], 1)
    assert shop.paid() == {("r", "step 0"): 1}


def test_data_of_a_step(shop: Shop, runner: Runner) -> None:
    """With `keep_data=True` the snapshot holds `data` as well."""

    def step(state: State, data: State) -> None:
        pay(state)
        data["rows"] = [1]

    cp = shop.flow(step, do_nothing, keep_data=True)
    runner(cp, {}, run_id="r", until="step 0")
    assert cp.handler.read("r")["checkpoint_data"] == {"rows": [1]}


@each_kind
def test_events(shop: Shop, kind: str, runner: Runner) -> None:
    """Events and managers come in the same order as without a transaction."""
    parts: list[str] = []

    def around(part: str, event: object) -> None:
        parts.append(f"{part} {len(shop.paid())}")

    runner(shop.flow(do_nothing), {}, run_id="other")
    before = shop.names()
    shop.events.clear()
    cp = shop.flow(payer(kind), around=[around])
    runner(cp, {}, run_id="r")
    assert shop.names() == before
    assert parts == ["run 0", "snapshot 0", "attempt 0", "snapshot 0"]
    shop.events.clear()


def test_behind_a_pooler(
    postgres: PostgresServer, database: str, shop: Shop, pooler: PgBouncer, runner: Runner
) -> None:
    """Behind a pooler in transaction mode all is the same."""
    url = pooler.url(database)
    cp = CheckpointFlow(url, name="shop")
    for number, step in enumerate([pay, apay] * 3):
        cp.add_step(name=f"step {number}")(step)
    for run_id in ("r", "s"):
        runner(cp, {}, run_id=run_id)
    assert set(shop.paid().values()) == {1}
    assert len(shop.paid()) == 12
    cp.handler.close()


async def test_many_at_once(shop: Shop) -> None:
    """Hundreds of runs share few connections, and each pays once for each step."""
    cp = shop.flow(pay, apay, pay, connections=4)
    runs: dict[str, State] = {f"r{number}": {} for number in range(100)}
    async for result in cp.amap(runs, limit=50):
        assert result.error is None
    assert len(shop.paid()) == 300
    assert set(shop.paid().values()) == {1}
    ((most,),) = shop.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", shop.database)
    assert most < 15
