"""Every store lists and counts the runs that a filter chooses, and no others."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aiocheckpoint import LocalStateHandler
from aiocheckpoint._model.header import Failure, Header, Status
from aiocheckpoint.handlers import CountBy, Query, RunFilter
from aiocheckpoint.handlers._counting import count_headers
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import MemoryStateHandler
from aiocheckpoint.testing._checking import ODD_IDS, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aiocheckpoint.handlers import StateHandler

NAMES = ("reserve", "charge", "schön")
ERRORS = ("builtins.ValueError", "httpx.ConnectTimeout", "shop.Größe.Fehler", 'odd"[type]')
IDS = (
    None,
    *ODD_IDS,
    *("order-1", "order-2", "Order-3", "order-\U0010ffff", "\U0010ffff\U0010ffff", "x[]"),
)
DAY, NOW = 86_400.0, 1.5
TIMES = (0.0, 1.0, DAY - 0.0001, DAY, DAY + 1, 20_000 * DAY, 20_001 * DAY, 4e12)

broken = st.builds(
    Failure,
    step=st.sampled_from(NAMES),
    part=st.just("step"),
    type=st.sampled_from(ERRORS),
    message=st.sampled_from(["", "httpx.ConnectTimeout"]),
    traceback=st.just(""),
    at=st.just(1.0),
    seconds=st.just(0.0),
    attempt=st.integers(1, 3),
)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """Facts of a stored run."""
    status: Status = draw(st.sampled_from(get_args(Status)))
    ended = status == "terminated"
    return {
        "status": status,
        "steps": draw(st.sampled_from([None, NAMES])),
        "position": 0 if status == "finished" else draw(st.integers(0, 2)),
        "failure": draw(st.none() | broken),
        "attempts": draw(st.dictionaries(st.sampled_from(NAMES), st.integers(2, 4), max_size=2)),
        "written_at": draw(st.sampled_from(TIMES)),
        "started_at": draw(st.sampled_from((1.0, 2.0))),
        "due": draw(st.sampled_from((None, 1.0))) if status in {"queued", "failed"} else None,
        "terminated_by": draw(st.sampled_from(("step", "hand"))) if ended else None,
    }


def several(values: Any) -> st.SearchStrategy[frozenset[Any] | None]:  # noqa: ANN401
    """One or two of some values, or None."""
    return st.none() | st.frozensets(st.sampled_from(values), min_size=1, max_size=2)


times = st.none() | st.sampled_from(TIMES)
filters: st.SearchStrategy[RunFilter] = st.builds(
    RunFilter,
    statuses=several(get_args(Status)),
    steps=several(NAMES),
    error=st.none()
    | st.sampled_from(["*", "*Timeout", "httpx.*", "*[oö]*", "*Gr??e*", "builtins.ValueError"])
    | st.sampled_from(['odd"[[]type]', "[bh]*", "no.Such", "ConnectTimeout", "V*Error", "Gr??e"]),
    ids=st.none()
    | st.sampled_from(["*", "order-*", "order-?", "[oO]rder-*", "order-1", "a*", "a?b", "*-*r*4*"])
    | st.sampled_from(["nul\0", "nul*", "\ud800", "\ud800*", "[*]", "\U0010ffff*", "x*", "*b"])
    | st.sampled_from(["caf?", "line?break", "order-\U0010ffff*", "\ud7ff*", "%41", "../*", "x[]"]),
    since=times,
    before=times,
    tries=st.none() | st.integers(1, 3),
    stale=st.booleans(),
)
queries = st.builds(
    Query,
    statuses=several(get_args(Status)),
    written_before=times,
    due_before=st.none() | st.just(NOW),
    where=filters,
    limit=st.none(),
    after=st.none(),
    unowned=st.just(value=False),
    names=st.none(),
)


def close(handler: StateHandler) -> None:
    """Delete all that is stored, for the next example."""
    for header in handler.runs(Query()):
        handler.remove(header.run_id)


@pytest.fixture(params=["memory", "directory", "sqlite"])
def handler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateHandler]:
    """A store of many runs."""
    kinds: dict[str, Any] = {
        "memory": MemoryStateHandler,
        "directory": lambda: LocalStateHandler(f"{tmp_path}/runs/", fsync=False),
        "sqlite": lambda: SqliteStateHandler(tmp_path / "runs.db", fsync=False),
    }
    with contextlib.closing(kinds[request.param]()) as made:
        yield made


def paged(handler: StateHandler, query: Query, size: int) -> list[Header]:
    """List all, page by page."""
    found: list[Header] = []
    query = query._replace(limit=size)
    while page := handler.runs(query):
        assert len(page) <= size
        found += page
        query = query._replace(after=page[-1])
    return found


def examples(most: int) -> settings:
    """Settings for a test on a store."""
    return settings(
        max_examples=most,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )


given_runs = given(
    runs=st.dictionaries(st.sampled_from(IDS), facts(), min_size=4, max_size=16),
    held=st.booleans(),
    asked=st.lists(queries, min_size=5, max_size=5),
    size=st.integers(1, 4),
)


def check_lists(
    handler: StateHandler,
    runs: dict[str | None, dict[str, Any]],
    held: bool,  # noqa: FBT001
    asked: list[Query],
    size: int,
) -> None:
    """A list is that of all headers, filtered, whole and by pages. So are the counts."""
    for run_id, one in runs.items():
        store(handler, run_id, **one)
    owned = handler.locked(next(iter(runs))) if held else contextlib.nullcontext()
    with owned:
        headers, due = handler.runs(Query()), handler.runs(Query(due_before=NOW))
        assert len(headers) == len(runs)
        for query in asked:
            whole = headers if query.due_before is None else due
            expected = list(filter(query.wants, whole))
            assert handler.runs(query) == expected
            assert paged(handler, query, size) == expected
        for query, by in itertools.product(asked[:2], BY):
            chosen = list(filter(query.where.wants, headers))
            counts = count_headers(chosen, by)
            assert Counter(handler.count(by, query.where)) == Counter(counts)
            assert handler.count(where=query.where) == len(chosen)
    close(handler)


test_lists_are_what_the_filter_chooses = examples(8)(given_runs(check_lists))


BY: tuple[tuple[CountBy, ...], ...] = (
    *(("status",), ("step",), ("error",), ("day",)),
    *(("status", "step"), ("day", "step", "status"), ("step", "error")),
)


def test_bracket_that_nothing_closes(handler: StateHandler) -> None:
    """Such a bracket in a pattern is a character, as an empty pair is."""
    for run_id in ("x[]", "x[", "x", "x[!]"):
        store(handler, run_id)
    for pattern, expected in {
        "x[]": ["x[]"],
        "*[": ["x["],
        "?[]": ["x[]"],
        "x[!]": ["x[!]"],
        "x[[]": ["x["],
    }.items():
        where = RunFilter(ids=pattern)
        assert [one.run_id for one in handler.runs(Query(where=where))] == expected, pattern
        assert handler.count(where=where) == 1


def test_pruning_by_a_filter(handler: StateHandler) -> None:
    """Pruning deletes the runs that a filter chooses, by columns or by headers, and no others."""
    for run_id, error in (("a-1", ERRORS[0]), ("a-2", ERRORS[1]), ("b-3", ERRORS[1])):
        said = ERRORS[1] if run_id == "a-1" else ""
        failure = Failure(
            step="x", part="step", type=error, message=said, traceback="", at=1.0, seconds=0.0
        )
        store(handler, run_id, "failed", failure=failure)
    store(handler, "a-4")
    assert handler.prune(Query(where=RunFilter(error="*Timeout", ids="a-*"))) == 1
    assert handler.prune(Query(where=RunFilter(ids="a-[4-9]"))) == 1
    assert {header.run_id for header in handler.runs(Query())} == {"a-1", "b-3"}
    assert handler.prune(Query(where=RunFilter(statuses=frozenset({"failed"}), before=4e12))) == 2
    assert handler.runs(Query()) == []
