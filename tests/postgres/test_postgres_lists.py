"""Lists, counts, filters and pruning of a PostgreSQL store: those of every store, and its own."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from postgres_runs import PostgresRuns, execute
from run_factories import ids, listed
from shared_tests import shared_tests

from aiocheckpoint import CheckpointFlow, CorruptSnapshotError
from aiocheckpoint.handlers import Query, RunFilter
from aiocheckpoint.handlers._run_filter import fits
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.testing._checking import ODD_IDS, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Runner

LISTS = shared_tests("handlers", "test_list_runs")
FILTERS = shared_tests("handlers", "test_filtered_lists")
COUNTS = shared_tests("handlers", "test_count_runs")
DUE = shared_tests("handlers", "test_due_runs")
FORGET = shared_tests("handlers", "test_forget_runs")


@pytest.fixture
def runs(store_url: str) -> Iterator[PostgresRuns]:
    """Give a factory of flows with many runs."""
    made = PostgresRuns.on(store_url)
    yield made
    made.forget()


@pytest.fixture
def handler(store_url: str) -> Iterator[PostgresStateHandler]:
    """Give a handler of an empty store."""
    with closing(PostgresStateHandler(store_url, flow="orders")) as made:
        yield made


@pytest.mark.parametrize(
    "shared",
    [
        LISTS.test_statuses,
        LISTS.test_fields_of_a_header,
        LISTS.test_order_is_that_of_the_beginnings,
        LISTS.test_pages,
        LISTS.test_pages_of_runs_that_began_together,
        COUNTS.test_counts,
    ],
    ids=lambda test: test.__name__,
)
def test_as_in_every_store(shared: Callable[..., None], runs: PostgresRuns, runner: Runner) -> None:
    """Contents, order and pages of lists, and counts, are as in any other store."""
    shared(runs, runner)


def test_filters(handler: PostgresStateHandler) -> None:
    """Lists and counts are those of all headers, filtered, whole and by pages."""
    FILTERS.test_lists_are_what_the_filter_chooses(handler)


def test_due_runs(handler: PostgresStateHandler) -> None:
    """A list by `due_before` has the runs that recovery may take, the longest due first."""
    DUE.test_due_runs_are_listed_in_order(handler)


@pytest.mark.parametrize("status", ["running", "queued", "failed"])
def test_due_run_of_a_living_owner(status: str, handler: PostgresStateHandler) -> None:
    """A run that is claimed is not due, until its owner lets go of it."""
    DUE.test_run_of_a_living_owner(status, handler)


def test_bracket_that_nothing_closes(handler: PostgresStateHandler) -> None:
    """Such a bracket in a pattern is a character, as an empty pair is."""
    FILTERS.test_bracket_that_nothing_closes(handler)


def test_pruning_by_a_filter(handler: PostgresStateHandler) -> None:
    """Pruning deletes the runs that a filter chooses, by columns or by headers, and no others."""
    FILTERS.test_pruning_by_a_filter(handler)


def test_pruning_deletes_what_is_kept_beside(store_url: str) -> None:
    """Kept snapshots are deleted with their runs, many runs at once, and runs in progress stay."""
    with closing(PostgresStateHandler(store_url, flow="orders", keep="all")) as handler:
        for number in range(3):
            handler.write({"n": number}, f"run-{number}")
            handler.write({"n": number}, f"run-{number}")
        with handler.locked("run-1"):
            assert handler.prune(Query()) == 2
        assert ids(handler.runs(Query())) == ["run-1"]
        assert execute(
            store_url, "SELECT DISTINCT run_id FROM kept JOIN runs ON run = runs.id"
        ) == [(b"run-1",)]
        assert handler.prune(Query()) == 1
        assert execute(store_url, "SELECT count(*) FROM kept") == [(0,)]


PATTERNS = (
    *("*", "order-?", "[oO]rder-*", "a?b", "*-*r*4*", "nul*", "\ud800*", "[*]", "\U0010ffff*"),
    *("caf?", "caf[é]", "line?break", "%", "_rder-1", "a\\b", "x[]", "[", "[z-a]*", "[]x]*", "?"),
    *("[!a-z]*", "a*" * 20 + "b", "x" * 700 + "*", "*" + "x" * 300, "*%", "*_rder-1", "*\\b"),
)
IDS = (
    *ODD_IDS,
    *("order-1", "Order-4", "_rder-1", "a\\b", "x[]", "[", "%", "é", "café", "b", "]x"),
    *("x" * 900, "x" * 900 + "y", "\U0010ffff\U0010ffff", "\ud800\ud800"),
)


def test_patterns_of_ids(handler: PostgresStateHandler) -> None:
    """A pattern chooses the ids that it fits, in lists and counts, of any characters."""
    for run_id in {*IDS}:
        store(handler, run_id)
    for pattern in PATTERNS:
        where = RunFilter(ids=pattern)
        expected = {one for one in IDS if fits(one, pattern)}
        assert set(ids(handler.runs(Query(where=where)))) == expected, ascii(pattern)
        assert handler.count(where=where) == len(expected), ascii(pattern)


def test_no_payload_is_read(runs: PostgresRuns, runner: Runner) -> None:
    """Garbage in all payloads changes no list."""
    cp = LISTS.leave_one_of_each(runs)
    before = runner.do(cp, "runs")
    execute(runs.url, "UPDATE runs SET payload = overlay(payload placing 'garbage' from 1)")
    assert runner.do(cp, "runs") == before
    with pytest.raises(CorruptSnapshotError, match="digest"):
        cp.read("finished")


def corrupt(runs: PostgresRuns, run_id: str) -> None:
    """Change a byte in the footer of a run."""
    execute(
        runs.url,
        "UPDATE runs SET footer = set_byte(footer, 0, 0) WHERE run_id = %s",
        run_id.encode(),
    )


def test_damaged_runs_are_left_out(
    runs: PostgresRuns, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged run is left out with a warning, and shortens no page."""
    cp = LISTS.leave_one_of_each(runs)
    corrupt(runs, "cancelled")
    corrupt(runs, "finished")
    assert listed(runner, cp) == ["failed", "stopped"]
    assert listed(runner, cp, limit=1) == ["failed"]
    assert "'cancelled'" in caplog.text
    assert "left out" in caplog.text
    with pytest.raises(CorruptSnapshotError, match="does not match the seal"):
        cp.header("finished")


def test_owner_is_named_during_a_run(runs: PostgresRuns, runner: Runner) -> None:
    """A list names the process of a running run, and no owner after its end."""
    held = shared_tests("support", "run_factories")
    cp = runs.flow()
    runner(cp, {}, run_id="ended")
    with held.active_run(runs.empty_flow(), "busy", {}):
        busy, ended = runner.do(cp, "runs")
        assert (busy.run_id, busy.status, ended.owner) == ("busy", "running", None)
        assert "process" in busy.owner
    assert [one.owner for one in runner.do(cp, "runs")] == [None, None]


@pytest.mark.parametrize(
    ("session", "silent", "shown"),
    [(None, 0, "process 7 on elsewhere"), (None, 31, None), ("1", 0, None)],
    ids=["beats behind a pooler", "silent behind a pooler", "its session is gone"],
)
def test_owner_by_what_the_server_knows(
    session: str | None,
    silent: int,
    shown: str | None,
    handler: PostgresStateHandler,
    store_url: str,
) -> None:
    """Lists show an owner by its session, and by its heartbeats where it has none."""
    store(handler, "run", "running")
    execute(
        store_url,
        "INSERT INTO owners VALUES ('0123456789abcdef', 'elsewhere', '', 7, '', 1, 30, %s, "
        "clock_timestamp() - make_interval(secs => %s))",
        session,
        silent,
    )
    execute(store_url, "UPDATE runs SET owner = '0123456789abcdef', token = 9")
    (header,) = handler.runs(Query())
    assert header.owner == shown


def test_counts_of_one_flow(runs: PostgresRuns) -> None:
    """Runs of another flow in the same schema are neither counted nor listed."""
    cp, other = COUNTS.leave_runs(runs), runs.flow("a", name="other")
    assert (other.count(), other.runs()) == (0, [])
    other.run({}, run_id="done 0")
    assert (other.count(), cp.count()) == (1, 6)


def test_nothing_is_made_by_reading(store_url: str) -> None:
    """Lists, counts and reads of a schema that is missing find nothing, and make nothing."""
    cp: CheckpointFlow[Any] = CheckpointFlow(store_url)
    cp.add_step(name="a")(lambda state: None)
    assert (cp.runs(), cp.count(), cp.read("x"), cp.header("x")) == ([], 0, {}, None)
    schema = store_url.partition("schema=")[2]
    found = execute(store_url, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema)
    assert found == []
    cp.handler.close()
