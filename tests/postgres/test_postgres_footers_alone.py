"""A list reads the footers of its runs, and nothing of their states."""

from __future__ import annotations

import re
import socket
import struct
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from postgres_connections import connected
from postgres_runs import execute

from aiocheckpoint.handlers import Query, RunFilter
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.handlers.postgres._listing import list_statement
from aiocheckpoint.handlers.postgres._server_connection import Link, in_schema
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

RUNS, MOST = 100, 1.5
BYTES_RECEIVED = 128
"""Where `tcp_info` of Linux has the number of bytes received (linux/tcp.h)."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux counts bytes by socket")


class Received:
    """Counts the bytes that all connections of the library have received."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Begin to note the connections that are made."""
        self._links = list[Link]()
        connect: Callable[..., Link] = Link.connect

        def noting(*words: object, **options: Any) -> Link:  # noqa: ANN401
            self._links.append(connect(*words, **options))
            return self._links[-1]

        patch.setattr(Link, "connect", noting)

    @property
    def total(self) -> int:
        """The number so far, of the connections that are open."""
        return sum(_received(link) for link in self._links if not link.closed)


def _received(link: Link) -> int:
    with socket.fromfd(link.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as one:
        info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED + 8)
    return int(struct.unpack_from("Q", info, BYTES_RECEIVED)[0])


@pytest.fixture(scope="module")
def large_url(request: pytest.FixtureRequest) -> Generator[str]:
    """Give the URL of a store of 100 runs of 1 MB."""
    postgres = request.getfixturevalue("postgres")
    database = postgres.create_database()
    url = postgres.url(database, schema="large")
    with closing(PostgresStateHandler(url, flow="large")) as handler:
        for number in range(RUNS):
            handler.write({"blob": bytes(1_000_000), "checkpoint_index": 1}, f"run-{number}")
    yield url
    postgres.drop_database(database)


def footers(url: str) -> int:
    """The bytes of all footers."""
    ((size,),) = execute(url, "SELECT sum(length(footer)) FROM runs")
    return int(size)


def test_bytes_of_a_list(large_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of 100 runs of 1 MB receives at most half as many bytes again as their footers."""
    received = Received(monkeypatch)
    with closing(PostgresStateHandler(large_url, flow="large")) as handler:
        handler.runs(Query(limit=1))
        before = received.total
        assert len(handler.runs(Query(limit=RUNS))) == RUNS
        assert footers(large_url) < received.total - before < MOST * footers(large_url)


def test_bytes_of_a_look(large_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a look at the store, with the keys of the list."""
    received = Received(monkeypatch)
    with open_store(large_url) as store:
        assert [flow.counts for flow in store.flows()] == [{"stopped": RUNS}]
        before = received.total
        assert len(list(store.runs(limit=RUNS))) == RUNS
        assert footers(large_url) < received.total - before < MOST * footers(large_url)


def test_pages_of_a_list(large_url: str) -> None:
    """The server reads the rows and an index, and no page of the payloads."""
    statement, values = list_statement(b"large", Query(limit=RUNS), None)
    with connected(large_url, writes=False) as connection:
        text = b"EXPLAIN (ANALYZE, BUFFERS) " + in_schema(statement, "large")
        plan = "\n".join(row[0] for row in connection.server.link.execute(text, values))
    pages = re.search(r"Buffers: shared (?:hit=(\d+))?(?: read=(\d+))?", plan)
    assert pages is not None, plan
    assert sum(int(one or 0) for one in pages.groups()) < 2 * RUNS, plan
    ((payloads,),) = execute(large_url, "SELECT sum(pg_column_size(payload)) FROM runs")
    assert payloads >= RUNS * 1_000_000


def test_counts_and_filters(large_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count by columns receives a row, and a filter that chooses nothing no footer."""
    received = Received(monkeypatch)
    with closing(PostgresStateHandler(large_url, flow="large")) as handler:
        handler.runs(Query(limit=1))
        before = received.total
        assert handler.count("status")["stopped"] == RUNS
        assert handler.runs(Query(where=RunFilter(error="*.NoSuchError"))) == []
        assert handler.runs(Query(where=RunFilter(tries=2))) == []
        assert received.total - before < 5 * footers(large_url) / RUNS
