"""Runs are chosen, sorted and counted as their headers say, by an index where there is one."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from looked_at import KINDS, make_store, place_in
from simulated_processes import looking

from aiocheckpoint import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers import RunFilter
from aiocheckpoint.handlers._index_rows import Choice
from aiocheckpoint.handlers.sqlite._stored_rows import keys_of
from aiocheckpoint.look import RunView, Store, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.handlers._counting import CountBy

by_kind = pytest.mark.parametrize("kind", KINDS)
FILTERS = (
    RunFilter(),
    RunFilter(statuses=frozenset({"failed"})),
    RunFilter(statuses=frozenset({"finished", "paused"})),
    RunFilter(steps=frozenset({"charge"})),
    RunFilter(error="*.TimeoutError"),
    RunFilter(ids="order-1*"),
    RunFilter(ids="*[13]"),
    RunFilter(since=1.0, before=4e9),
    RunFilter(before=1.0),
    RunFilter(tries=1),
    RunFilter(stale=True),
    RunFilter(error="*", ids="order-*", statuses=frozenset({"failed", "cancelled"})),
)
FACTS: dict[CountBy, Any] = {
    "status": lambda run: run.status,
    "step": lambda run: run.step,
    "error": lambda run: None if run.failure is None else run.failure.type,
    "day": lambda run: run.to_json()["written_at_utc"][:10],
}


@by_kind
def test_filters_and_counts(kind: str, tmp_path: Path) -> None:
    """Each filter chooses the runs whose headers fit it, and counts have as many by each fact."""
    cp = make_store(tmp_path, kind, 14)
    cp.submit({"n": 99}, run_id="order-99")
    cp.handler.close()
    with open_store(place_in(tmp_path, kind)) as store:
        for where in FILTERS:
            runs = list(store.runs(where))
            assert [run.run_id for run in runs] == [
                header.run_id for header in cp.runs() if where.wants(header)
            ]
            assert [run.run_id for run in store.runs(where, limit=3)] == [
                run.run_id for run in runs[:3]
            ]
            check_counts(store, where, runs)
    cp.handler.close()


def check_counts(store: Store, where: RunFilter, runs: list[RunView]) -> None:
    """Check the counts of some runs by every choice of facts."""
    for number in range(3):
        for facts in itertools.permutations(FACTS, number):
            expected = Counter(tuple(FACTS[fact](run) for fact in facts) for run in runs)
            found = store.count(facts, where)
            assert dict(found.rows) == dict(expected)
            assert found.total == len(runs)


@by_kind
def test_bad_arguments(kind: str, tmp_path: Path) -> None:
    """Bad arguments are refused at the call, and name what there is."""
    make_store(tmp_path, kind)
    store = open_store(place_in(tmp_path, kind))
    calls: list[tuple[Any, str]] = [
        (lambda: store.runs(sort="name"), "'began', 'wrote', 'took'"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        (lambda: store.runs(limit=-1), "limit=-1"),
        (lambda: store.count("flow"), "'status'"),
        (lambda: store.count(["status", "x"]), "'status'"),
    ]
    for call, words in calls:
        with pytest.raises(InvalidValueError, match=words):
            call()
    with pytest.raises(InvalidTypeError):
        store.run(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidTypeError, match="secret"):
        open_store(place_in(tmp_path, kind), secret=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert list(store.runs(limit=0)) == []
    location = next(store.runs()).location
    with pytest.raises(InvalidValueError, match="location of one run"):
        open_store(location)


@pytest.mark.parametrize("where", FILTERS[:4], ids=["all", "failed", "two statuses", "step"])
def test_lists_use_an_index(where: RunFilter, tmp_path: Path) -> None:
    """The runs that began last are found by an index: SQLite scans no table, and sorts nothing."""
    make_store(tmp_path, "database")
    plans: list[str] = []

    class Connection:
        """Notes the plans of all statements."""

        def execute(self, statement: str, values: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
            """Give the plan instead of the rows."""
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            plans.extend(row[3] for row in rows)
            return []

    with looking(tmp_path / "runs.db") as connection, closing(connection):
        observed: Any = Connection()
        assert keys_of(observed, Choice("orders", where, "began", 50), None, 50) == []
    assert plans
    assert all("USING INDEX runs_" in plan for plan in plans), plans
