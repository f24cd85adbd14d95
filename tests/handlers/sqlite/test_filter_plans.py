"""A database finds filtered runs by its indexes, and decodes no more headers than it must."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.handlers import Query, RunFilter, _filter_columns
from aiocheckpoint.handlers._filter_columns import is_in_columns
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._conditions import IDS_IN_RANGE, prefix_values
from aiocheckpoint.handlers.sqlite._counting import counted
from aiocheckpoint.handlers.sqlite._listing import listed
from aiocheckpoint.testing._checking import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiocheckpoint.handlers import CountBy

FAILED = RunFilter(statuses=frozenset({"failed"}))


class Recording(sqlite3.Connection):
    """Notes the statements that it executes.

    Attributes:
        plans: How SQLite carries them out.
    """

    plans: str = ""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401
        """Execute a statement, and ask for its plan."""
        explained = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans += "".join(f"{row[3]}\n" for row in explained)
        return super().execute(sql, parameters)


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[SqliteStateHandler]:
    """A database of a few runs."""
    path = tmp_path / "runs.db"
    with closing(SqliteStateHandler(path, fsync=False, flow="orders")) as made:
        for number in range(4):
            store(made, f"order-{number}", "failed", started_at=float(number))
        yield made


def plans(handler: SqliteStateHandler, ask: Callable[[sqlite3.Connection], object]) -> str:
    """How SQLite carries out the statements of a call."""
    with closing(sqlite3.connect(str(handler.path), factory=Recording)) as connection:
        ask(connection)
        return connection.plans


@pytest.mark.parametrize(
    ("query", "found", "missing"),
    [
        (Query(), "USING INDEX runs_by_start (flow=?)", "TEMP B-TREE"),
        (Query(where=FAILED), "USING INDEX runs_unfinished (flow=?)", "TEMP B-TREE"),
        (Query(where=RunFilter(steps=frozenset("b"))), "INDEX runs_unfinished", "TEMP B-TREE"),
        (Query(where=RunFilter(error="*Timeout")), "INDEX runs_unfinished", "TEMP B-TREE"),
        (Query(where=RunFilter(tries=2)), "INDEX runs_unfinished", "TEMP B-TREE"),
        (Query(where=RunFilter(stale=True)), "INDEX runs_unfinished", "TEMP B-TREE"),
        (
            Query(where=RunFilter(ids="order-1")),
            "USING INDEX sqlite_autoindex_runs_1 (flow=? AND run_id=?)",
            "runs_by_start",
        ),
        (
            Query(where=RunFilter(ids="order-1*")),
            "COVERING INDEX sqlite_autoindex_runs_1 (flow=? AND run_id>? AND run_id<?)",
            "runs_by_start",
        ),
        (Query(where=RunFilter(ids="*-1")), "USING INDEX runs_by_start (flow=?)", "TEMP B-TREE"),
        (
            Query(where=RunFilter(steps=frozenset("b")), due_before=9.0, unowned=True),
            "USING INDEX runs_due (flow=? AND status=?",
            "SCAN runs\n",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value.where),
)
def test_lists(query: Query, found: str, missing: str, handler: SqliteStateHandler) -> None:
    """Statuses, steps and errors by the index of unfinished runs, ids by that of ids."""
    said = plans(handler, lambda connection: listed(connection, "orders", query))
    assert found in said
    assert missing not in said


@pytest.mark.parametrize(
    ("facts", "where", "found"),
    [
        (("status",), RunFilter(), "COVERING INDEX runs_by_status"),
        (("step",), RunFilter(), "COVERING INDEX runs_by_status"),
        (("status", "step"), RunFilter(), "COVERING INDEX runs_by_status"),
        (("day",), FAILED, "INDEX runs_by_status (flow=? AND status=?)"),
        (("status",), RunFilter(ids="order-1*"), "COVERING INDEX sqlite_autoindex_runs_1"),
    ],
    ids=str,
)
def test_counts(
    facts: tuple[CountBy, ...], where: RunFilter, found: str, handler: SqliteStateHandler
) -> None:
    """Finished runs, of which there are most, are counted without reading a row."""
    said = plans(handler, lambda connection: counted(connection, "orders", facts, where))
    assert found in said
    assert "SCAN" not in said


def test_many_ids_with_one_beginning(
    handler: SqliteStateHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most ids begin so, the runs are read in the order of the list, without sorting all."""
    monkeypatch.setattr("aiocheckpoint.handlers.sqlite._listing._MOST_IN_RANGE", 3)
    query = Query(where=RunFilter(ids="order-?"), limit=1)
    said = plans(handler, lambda connection: listed(connection, "orders", query))
    assert "USING INDEX runs_by_start (flow=?)" in said
    assert "INTEGER PRIMARY KEY" not in said
    assert [one.run_id for one in handler.runs(query)] == ["order-3"]


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("order-", "order-\U0010ffff\U0010ffff", "order."),
        ("a\U0010ffff", "a\U0010ffff\U0010ffff", "b"),
        ("\U0010ffff", "\U0010ffff\U0010ffff", "\ue000"),
        ("\ud7ff", "\ud7ff\ud7ff", "\ue000"),
        ("\x7f", "\x7fa", "\x80"),
    ],
    ids=ascii,
)
def test_range_of_a_beginning(
    prefix: str, inside: str, outside: str, handler: SqliteStateHandler
) -> None:
    """The range has every id with the beginning, whatever follows, and no text without it."""
    for run_id in (prefix, inside, outside):
        store(handler, run_id)
    values = {"flow": "orders", **prefix_values(prefix)}
    with closing(sqlite3.connect(str(handler.path))) as connection:
        statement = f"SELECT run_id FROM runs WHERE id IN ({IDS_IN_RANGE})"  # noqa: S608
        found = [run_id for (run_id,) in connection.execute(statement, values)]
    assert {prefix, inside} <= set(found)
    assert all(run_id.startswith(prefix) for run_id in found)


def test_headers_of_other_runs_are_not_decoded(
    handler: SqliteStateHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that no footer names costs no header, and an id that fits not costs none."""
    decoded: list[str] = []
    peek = Codec.peek

    def noting(codec: Codec, footer: bytes, length: int, location: str) -> object:
        decoded.append(location)
        return peek(codec, footer, length, location)

    monkeypatch.setattr(Codec, "peek", noting)
    for where in (
        RunFilter(error="*.NoSuchError"),
        RunFilter(ids="[x-z]-no*"),
        RunFilter(ids="*a*b*c*d"),
        RunFilter(tries=2),
    ):
        assert handler.runs(Query(where=where)) == []
    assert decoded == []
    assert len(handler.runs(Query(where=RunFilter(ids="*-[0-1]")))) == 2
    assert handler.count(("status",), RunFilter(ids="[!x]*", statuses=frozenset({"failed"}))) == {
        ("failed",): 4
    }


def test_patterns_that_take_long_elsewhere(handler: SqliteStateHandler) -> None:
    """A pattern of many stars, on a long id, ends soon."""
    store(handler, "a" * 900)
    where = RunFilter(ids="a*" * 20 + "b")
    assert handler.runs(Query(where=where)) == []
    assert handler.count(where=where) == 0


class _Wider(NamedTuple):
    """A filter as it may become."""

    statuses: frozenset[str] | None = None
    steps: frozenset[str] | None = None
    ids: str | None = None
    since: float | None = None
    before: float | None = None
    new: str | None = None


def test_what_no_column_is_known_to_have_is_decided_by_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A condition that is new in the filter is not ignored by the counts of a database."""
    monkeypatch.setattr(_filter_columns, "ALL", _Wider())
    chosen: Any = _Wider(frozenset({"failed"}), frozenset({"charge"}), "order-*", 1.0, 2.0)
    assert is_in_columns(chosen)
    assert not is_in_columns(chosen._replace(new="any"))


@pytest.mark.parametrize("where", [RunFilter(error="*"), RunFilter(tries=1), RunFilter(stale=True)])
def test_errors_attempts_and_owners_are_decided_by_headers(where: RunFilter) -> None:
    """What headers alone tell is in no column."""
    assert not is_in_columns(where)
