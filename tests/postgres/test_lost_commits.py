"""The answer to a commit, or the commit itself, is lost with its connection."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from outages import NotedRuns

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from support import State
    from tcp_proxy import Loss, TcpProxy

TABLE = r'UPDATE "aiocheckpoint"\.runs SET '
STATEMENTS = {
    "claims": "WITH me AS",
    "steps": TABLE + r"position = ((?!v\.status)[^\n])*",
    "ends": TABLE + r"position = [^\n]*v\.status",
    "starts": TABLE + r"status = v\.status, start = ",
    "queue": r'INSERT INTO "aiocheckpoint"\.runs',
}
"""How the statements begin."""


@pytest.fixture
def url(proxy: TcpProxy, postgres: PostgresServer, database: str) -> str:
    """Give the URL of an empty database behind the proxy."""
    return postgres.url(database, host=proxy.place)


def lose(proxy: TcpProxy, kind: str, count: int, *, answers: bool) -> Loss:
    """Lose commits of a kind of statements: of a transaction, or of the statement alone."""
    statement = STATEMENTS[kind]
    pattern = rf"\A(BEGIN.*{statement}.*COMMIT|{statement}.*)\Z"
    return (proxy.lose_answers if answers else proxy.lose_requests)(pattern, count)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("kind", ["claims", "steps", "ends"])
def test_lost_commits(proxy: TcpProxy, url: str, kind: str, *, answers: bool) -> None:
    """All runs end, and no acknowledged step runs again, whatever is lost on the way."""
    runs = NotedRuns(url, 60)
    runs.may_end.set()
    lost = lose(proxy, kind, 3, answers=answers)
    runs.do_all()
    assert lost.left == 0


@pytest.mark.parametrize("answers", [True, False])
def test_starts_are_counted_once(proxy: TcpProxy, url: str, *, answers: bool) -> None:
    """A run that is started again while answers are lost has begun twice, and was never killed."""
    cp, tries = CheckpointFlow(url), list[int]()

    @cp.add_step()
    def fail(state: State) -> None:
        tries.append(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cp.run({}, run_id="x")
    lost = lose(proxy, "starts", 1, answers=answers)
    with pytest.raises(ConnectionError):
        cp.run(run_id="x")
    assert lost.left == 0
    (header,) = cp.runs()
    assert (header.starts, header.killed, len(tries)) == (2, 0, 2)


KILLED_AT_ITS_START = """
import os, signal, sys
from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.postgres._connection import PostgresConnection

def end(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

PostgresConnection.record_starts = end
cp = CheckpointFlow(sys.argv[1], name="orders")
cp.add_step(name="fail")(print)
cp.run({}, run_id="y")  # Its claim is in the transaction of the first heartbeat.
cp.run({}, run_id="x")
"""


def test_kill_between_a_claim_and_its_start(database_url: str) -> None:
    """A start is counted in the commit of its claim: a kill before takes both back."""
    cp = CheckpointFlow(database_url, name="orders")

    @cp.add_step()
    def fail(state: State) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cp.run({}, run_id="x")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_ITS_START, database_url], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    with closing(psycopg.connect(database_url)) as link:
        stored = link.execute(
            "SELECT owner, status FROM aiocheckpoint.runs WHERE run_id = 'x'"
        ).fetchall()
    assert stored == [(None, "failed")]
    with pytest.raises(ConnectionError):
        cp.run({}, run_id="x")
    header = cp.header("x")
    assert header is not None
    assert (header.starts, header.killed) == (2, 0)


@pytest.mark.parametrize("answers", [True, False])
def test_queued_once(proxy: TcpProxy, url: str, *, answers: bool) -> None:
    """Runs that are queued while answers are lost are queued, and done, once each."""
    done = list[int]()
    cp = CheckpointFlow(url)
    cp.add_step(name="a")(lambda state: done.append(state["n"]))
    lost = lose(proxy, "queue", 2, answers=answers)
    results = cp.submit({f"run-{n}": {"n": n} for n in range(300)})
    assert lost.left == 0
    assert [result.error for result in results] == [None] * 300
    assert {result.status for result in cp.work(until_empty=True)} == {"finished"}
    assert sorted(done) == list(range(300))
