"""A server finds runs by indexes: nothing reads a whole table, and lists sort next to nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from postgres_connections import connected
from postgres_runs import execute

from aiocheckpoint.handlers import Query, RunFilter
from aiocheckpoint.handlers._index_rows import Choice
from aiocheckpoint.handlers.postgres._counting import count_statement
from aiocheckpoint.handlers.postgres._index_rows import PostgresRows
from aiocheckpoint.handlers.postgres._listing import list_statement
from aiocheckpoint.handlers.postgres._pruning import prune_statement
from aiocheckpoint.handlers.postgres._server_connection import in_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from postgres_server import PostgresServer

    from aiocheckpoint.handlers import CountBy

    Values = dict[str, Any]

FLOW = b"orders"
FAILED = RunFilter(statuses=frozenset({"failed"}))
ROWS = """
INSERT INTO runs (flow, run_id, token, claimed_at, status, number, sequence, position, step, due,
    started_at, written_at, footer, payload)
SELECT CASE WHEN n % 7 = 0 THEN 'refunds' ELSE 'orders' END::bytea, ('order-' || n)::bytea, 0, 0,
    CASE n % 50 WHEN 1 THEN 'failed' WHEN 2 THEN 'queued' WHEN 3 THEN 'paused' ELSE 'finished' END,
    1, 1, 0, CASE WHEN n % 50 IN (1, 2, 3) THEN 'charge'::bytea END,
    CASE n % 50 WHEN 1 THEN n WHEN 2 THEN 0.0 WHEN 3 THEN 'infinity'::double precision END,
    n, n, decode(repeat(md5(n::text), 40), 'hex'), ''::bytea
FROM generate_series(1, 10000) AS n
"""
"""Runs as a service has them: most have finished, and a few of each other kind."""


class Plans:
    """The plans of statements on a server.

    Attributes:
        url: The URL of its store.
    """

    def __init__(self, url: str) -> None:
        """Begin with a URL."""
        self.url = url
        self._schema = url.partition("schema=")[2]

    def of(self, statement: str, values: Values) -> str:
        """The plan of a statement."""
        with connected(self.url, writes=False) as connection:
            text = b"EXPLAIN (COSTS OFF) " + in_schema(statement, self._schema)
            return "\n".join(row[0] for row in connection.server.link.execute(text, values))

    @contextmanager
    def all_of(self) -> Generator[tuple[list[str], Callable[[str, Values], list[Any]]]]:
        """Give a list for plans, and a function that notes one and gives no rows."""
        plans: list[str] = []

        def note(statement: str, values: Values) -> list[Any]:
            plans.append(self.of(statement, values))
            return []

        yield plans, note


@pytest.fixture(scope="module")
def plans(postgres: PostgresServer) -> Generator[Plans]:
    """Give the plans of a server with 10,000 runs."""
    database = postgres.create_database()
    url = postgres.url(database, schema="plans")
    with connected(url):
        pass
    execute(url, ROWS)
    execute(url, "VACUUM ANALYZE runs")
    yield Plans(url)
    postgres.drop_database(database)


LISTS = {
    "all": (Query(limit=50), "Index Scan Backward using runs_by_start"),
    "failed": (Query(limit=50, where=FAILED), "runs_by_status"),
    "step": (Query(limit=50, where=RunFilter(steps=frozenset({"charge"}))), "runs_unfinished"),
    "error": (Query(limit=50, where=RunFilter(error="*Timeout")), "runs_unfinished"),
    "tries": (Query(limit=50, where=RunFilter(tries=2)), "runs_unfinished"),
    "id": (Query(limit=50, where=RunFilter(ids="order-10")), "Index Scan using runs_by_key"),
    "beginning": (Query(limit=50, where=RunFilter(ids="order-99*")), "runs_by_key"),
    "due": (Query(limit=50, due_before=500.0, unowned=True), "Index Scan using runs_due"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name: str, plans: Plans) -> None:
    """Each list is found by an index that holds its runs, and the whole table is never read."""
    query, index = LISTS[name]
    plan = plans.of(*list_statement(FLOW, query, None))
    assert index in plan, plan
    assert "Seq Scan on runs" not in plan, plan


def test_later_pages(plans: Plans) -> None:
    """A page in the midst of a list begins in the midst of its index."""
    with connected(plans.url, writes=False) as connection:
        (*_, last) = connection.list_runs(FLOW, Query(limit=50), None)
        (*_, due) = connection.list_runs(FLOW, Query(limit=9, due_before=500.0), None)
    plan = plans.of(*list_statement(FLOW, Query(limit=50), last))
    assert "Index Cond: ((flow = '\\x6f7264657273'::bytea) AND (started_at <= " in plan, plan
    plan = plans.of(*list_statement(FLOW, Query(limit=9, due_before=500.0, unowned=True), due))
    assert "Seq Scan on runs" not in plan, plan
    assert "(started_at >= " in plan, plan


COUNTS: dict[str, tuple[tuple[CountBy, ...], RunFilter, str]] = {
    "status": (("status",), RunFilter(), "Index Only Scan using runs_by_status"),
    "finished": (
        ("status",),
        RunFilter(statuses=frozenset({"finished"})),
        "Index Only Scan using runs_by_status",
    ),
    "step": (("step",), RunFilter(), "Index Only Scan using runs_by_status"),
    "failed": (("day",), FAILED, "runs_by_status"),
    "beginning": (("status",), RunFilter(ids="order-99*"), "runs_by_key"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str, plans: Plans) -> None:
    """Finished runs, of which there are most, are counted without a look at their rows."""
    facts, where, index = COUNTS[name]
    plan = plans.of(*count_statement(FLOW, facts, where))
    assert index in plan, plan


def test_what_a_reader_asks_for(plans: Plans) -> None:
    """Keys, rows, names of flows and the newest finished runs are found by indexes as well."""
    with plans.all_of() as (found, note):
        rows = PostgresRows(note)
        rows.keys(Choice("orders", RunFilter(), "began", 50), None, 50)
        rows.keys(Choice("", RunFilter()), None, 50)
        rows.rows([1, 2, 3])
        rows.rows_of_run("orders", "order-1")
        rows.flow_names()
        rows.newest_finished("orders", 20)
    assert len(found) == 6
    assert not [plan for plan in found if "Seq Scan on runs" in plan]


def test_pruning(plans: Plans) -> None:
    """Old runs of a status are deleted by an index, some at a time."""
    query = Query(statuses=frozenset({"failed"}), written_before=100.0)
    plan = plans.of(*prune_statement(FLOW, query, unsigned=True))
    assert "Seq Scan on runs" not in plan, plan
