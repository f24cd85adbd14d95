"""Workers on two hosts that share PostgreSQL, and are cut off for moments and for longer."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest
from engine_kills import await_true
from engine_runs import EngineRuns, Host, WorkProcesses, flow_environment
from network_namespaces import cut_off_host, why_no_namespaces
from object_server import object_server
from recipes import COMMANDS, PATIENCE, Recipes

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from network_namespaces import CutOffHost
    from postgres_server import PostgresServer

LEASE = 2.0
AT_ONCE = 8
PAGES = 50
LOG = logging.getLogger(__name__)
LONG = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.fixture
def two_hosts() -> Generator[list[CutOffHost]]:
    """Give two hosts that can be cut off."""
    why = why_no_namespaces()
    if why is not None:
        pytest.skip(why)
    with cut_off_host() as first, cut_off_host() as second:
        yield [first, second]


class UrlAt(Protocol):
    """The URL of an empty store."""

    def __call__(self, address: str = "127.0.0.1") -> str:
        """Give the URL, by the address of the server."""
        ...


def on_postgres(server: PostgresServer) -> UrlAt:
    """Give the URL of an empty database."""
    database = server.create_database()
    return lambda address="127.0.0.1": server.url(database, host=address)


@pytest.fixture(params=["postgres", "s3"])
def url_at(request: pytest.FixtureRequest) -> Generator[UrlAt]:
    """Give the URL of an empty store of each kind in turn, on a server that all hosts reach."""
    if request.param == "postgres":
        yield on_postgres(request.getfixturevalue("open_postgres"))
        return
    request.getfixturevalue("object_keys")
    with object_server(address="0.0.0.0") as server:  # noqa: S104 - hosts have no others
        bucket = server.create_bucket()
        yield lambda address="127.0.0.1": server.url(
            bucket, "work", endpoint=f"http://{address}:{server.port}"
        )


def places(url_at: UrlAt, hosts: list[CutOffHost]) -> list[Host]:
    """Say how a worker is started on each host."""
    return [Host(url_at(one.here), one.prefix) for one in hosts]


@pytest.mark.parametrize(("count", "cuts"), [(60, 2), pytest.param(500, 12, marks=LONG)])
def test_hosts_cut_off(
    url_at: UrlAt, two_hosts: list[CutOffHost], tmp_path: Path, count: int, cuts: int
) -> None:
    """A host keeps its runs over a short cut, and loses them in a long one. Each run ends once."""
    runs = EngineRuns(tmp_path, url_at(), count, (0.05, 0.45), {"lease": LEASE})
    runs.submit()
    hosts = places(url_at, two_hosts)
    with WorkProcesses(tmp_path / "said", runs.environment, AT_ONCE, hosts) as workers:
        await_true(lambda: len(runs.processes()) == 2)
        for number in range(cuts):
            with cut(two_hosts[number % 2]):
                time.sleep(0.3 * LEASE)
            time.sleep(0.3)
            before = runs.times().again[0]
            with cut(two_hosts[number % 2]):
                await_true(lambda before=before: runs.times().again[0] > before)  # type: ignore[misc]
            runs.await_share(0.9 * number / cuts)
        await_true(runs.finished)
        workers.drain()
    began, ended = runs.check(late_owners=True).again
    LOG.info("%d long cuts: %d steps began again, %d ended again", cuts, began, ended)
    assert ended <= began


@contextmanager
def cut(host: CutOffHost) -> Generator[None]:
    """Cut a host off for the block."""
    host.cut()
    try:
        yield
    finally:
        host.join()


def test_step_that_goes_on_elsewhere(
    url_at: UrlAt, two_hosts: list[CutOffHost], tmp_path: Path
) -> None:
    """Another host goes on at the cursor of the one that is cut off, with the same key."""
    log = tmp_path / "log"
    cp = CheckpointFlow(url_at(), name="pages", lease=LEASE)
    cp.add_step(name="send")(lambda state: None)
    cp.submit({}, run_id="x")
    environment = flow_environment(log, {"lease": LEASE}) | {"ENGINE_PAGES": str(PAGES)}

    def pages() -> list[list[str]]:
        return [line.split() for line in log.read_text("ascii").splitlines()]

    first, second = places(url_at, two_hosts)
    output, target = tmp_path / "said", "paged_flow:cp"
    with WorkProcesses(output, environment, 1, [first], target) as here:
        await_true(lambda: log.exists() and len(pages()) > 10)
        with WorkProcesses(output, environment, 1, [second], target) as there:
            two_hosts[0].cut()
            assert len(pages()) < PAGES, "the host was too slow"
            successor = str(there.processes[0].pid)
            await_true(lambda: any(pid == successor for *_, pid in pages()))
            two_hosts[0].join()
            await_true(lambda: cp.count("status")["finished"] == 1)
            there.drain()
        here.drain()
    assert cp.read("x")["by"] == int(successor)
    cp.handler.close()
    assert len({(run, key) for run, key, *_ in pages()}) == 1
    begun_at = next(int(page) for *_, page, pid in pages() if pid == successor)
    assert 0 < begun_at <= 1 + max(int(page) for *_, page, pid in pages() if pid != successor)


def test_from_one_machine_to_two(
    open_postgres: PostgresServer, two_hosts: list[CutOffHost], tmp_path: Path
) -> None:
    """By the steps of the page, two machines share the work that one has done before."""
    url_at = on_postgres(open_postgres)
    recipes = Recipes(tmp_path, {"ORDERS_STORE": f"sqlite:///{tmp_path}/orders.db"})
    recipes.write()
    recipes.python("cp.submit((f'order-{n}', {'item': 'book'}) for n in range(60))")
    command = COMMANDS[0].split()
    with recipes.started(*command) as worker:
        await_true(lambda: recipes.finished() > 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    (tmp_path / "begun.txt").rename(tmp_path / "begun_before.txt")

    recipes = Recipes(tmp_path, {"ORDERS_STORE": url_at()})
    assert recipes.call("python", "move_orders.py") == "60 runs are copied\n"
    with ExitStack() as stack:
        workers = [
            stack.enter_context(recipes.started(*host.before, *command, ORDERS_STORE=host.store))
            for host in places(url_at, two_hosts)
        ]
        await_true(lambda: recipes.finished() == 60)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE) == 0
    assert len(recipes.processes()) == 2
    with (tmp_path / "begun.txt").open("a", encoding="utf-8") as begun:
        begun.write((tmp_path / "begun_before.txt").read_text("utf-8"))
    recipes.check([], [f"order-{n}" for n in range(60)])
