"""Workers on two hosts that share PostgreSQL, and are cut off for moments and for longer."""

from __future__ import annotations

import logging
import random
import signal
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from engine_kills import await_true
from engine_runs import EngineRuns, Host, WorkProcesses, flow_environment
from network_namespaces import cut_off_host
from recipes import COMMANDS, PATIENCE, Recipes

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from network_namespaces import CutOffHost
    from postgres_server import PostgresServer

LEASE = 2.0
AT_ONCE = 8
LOG = logging.getLogger(__name__)
LONG = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.fixture
def two_hosts(cut_off: CutOffHost) -> Generator[list[CutOffHost]]:
    """Give two hosts that reach the test's own server, and can be cut off."""
    with cut_off_host() as second:
        yield [cut_off, second]


def places(server: PostgresServer, database: str, hosts: list[CutOffHost]) -> list[Host]:
    """Say how a worker is started on each host."""
    return [Host(server.url(database, host=one.here), one.prefix) for one in hosts]


@pytest.mark.parametrize(("count", "cuts"), [(60, 2), pytest.param(500, 12, marks=LONG)])
def test_hosts_cut_off(
    own_postgres: PostgresServer,
    two_hosts: list[CutOffHost],
    tmp_path: Path,
    count: int,
    cuts: int,
) -> None:
    """A host keeps its runs over a short cut, and loses them in a long one. Each run ends once."""
    database = own_postgres.create_database()
    runs = EngineRuns(tmp_path, own_postgres.url(database), count, (0.05, 0.45), {"lease": LEASE})
    runs.submit()
    hosts = places(own_postgres, database, two_hosts)
    with closing(WorkProcesses(runs.environment, AT_ONCE, hosts)) as workers:
        workers.start()
        runs.await_share(0.05)
        for number in range(cuts):
            cut_for_a_moment(two_hosts[number % 2], 0.3 * LEASE)
            time.sleep(0.3)
            cut_for_a_moment(two_hosts[number % 2], random.uniform(1.5, 2) * LEASE)  # noqa: S311
            runs.await_share(0.9 * number / cuts)
        await_true(runs.finished)
        workers.drain()
    began, ended = runs.check().again
    LOG.info("%d long cuts: %d steps began again, %d ended again", cuts, began, ended)
    assert 0 < began <= cuts * AT_ONCE
    assert ended <= began


def cut_for_a_moment(host: CutOffHost, seconds: float) -> None:
    """Cut a host off for so many seconds."""
    host.cut()
    time.sleep(seconds)
    host.join()


def test_step_that_goes_on_elsewhere(
    own_postgres: PostgresServer, two_hosts: list[CutOffHost], tmp_path: Path
) -> None:
    """Another host goes on at the cursor of the one that is cut off, with the same key."""
    database = own_postgres.create_database()
    log = tmp_path / "log"
    cp = CheckpointFlow(own_postgres.url(database), name="pages", lease=LEASE)
    cp.add_step(name="send")(lambda state: None)
    cp.submit({}, run_id="x")
    environment = flow_environment(log, {"lease": LEASE})

    def pages() -> list[list[str]]:
        return [line.split() for line in log.read_text("ascii").splitlines()]

    first, second = places(own_postgres, database, two_hosts)
    with (
        closing(WorkProcesses(environment, 1, [first], "paged_flow:cp")) as here,
        closing(WorkProcesses(environment, 1, [second], "paged_flow:cp")) as there,
    ):
        here.start()
        await_true(lambda: log.exists() and len(pages()) > 15)
        there.start()
        two_hosts[0].cut()
        successor = str(there.processes[0].pid)
        await_true(lambda: any(pid == successor for *_, pid in pages()))
        two_hosts[0].join()
        await_true(lambda: cp.count("status")["finished"] == 1)
        for workers in (here, there):
            workers.drain()
    assert cp.read("x")["by"] == int(successor)
    cp.handler.close()
    assert len({(run, key) for run, key, *_ in pages()}) == 1
    begun_at = next(int(page) for *_, page, pid in pages() if pid == successor)
    assert 0 < begun_at <= 1 + max(int(page) for *_, page, pid in pages() if pid != successor)


def test_from_one_machine_to_two(
    own_postgres: PostgresServer, two_hosts: list[CutOffHost], tmp_path: Path
) -> None:
    """By the steps of the page, two machines share the work that one has done before."""
    database = own_postgres.create_database()
    recipes = Recipes(tmp_path, {"ORDERS_STORE": f"sqlite:///{tmp_path}/orders.db"})
    recipes.write()
    submit = "cp.submit((f'order-{n}', {'item': 'book'}) for n in range(%d, %d))"
    recipes.python(submit % (0, 8))
    command = COMMANDS[0].split()
    recipes.call(*command, "--until-empty")
    recipes.check([], [f"order-{n}" for n in range(8)])

    recipes = Recipes(tmp_path, {"ORDERS_STORE": own_postgres.url(database)})
    (tmp_path / "begun.txt").unlink()
    recipes.python(submit % (8, 60))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(recipes.started(*host.prefix, *command, ORDERS_STORE=here.store))
            for host, here in zip(two_hosts, places(own_postgres, database, two_hosts), strict=True)
        ]
        await_true(lambda: recipes.finished() == 52)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE) == 0
    recipes.check([], [f"order-{n}" for n in range(8, 60)])
    assert len(recipes.processes()) == 2
