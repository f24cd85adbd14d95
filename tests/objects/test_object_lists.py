"""Lists, counts, filters and pruning of a store of objects: those of every store, and its own."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

import obstore
import pytest
from faulty_objects import names
from run_factories import Runs, ids, listed
from shared_tests import shared_tests

from aiocheckpoint import CheckpointFlow, open_handler
from aiocheckpoint.handlers import Query, RunFilter
from aiocheckpoint.testing._checking import store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from object_proxy import ObjectProxy
    from object_server import ObjectServer
    from support import Runner

    from aiocheckpoint import StateHandler

LISTS = shared_tests("handlers", "test_list_runs")
FILTERS = shared_tests("handlers", "test_filtered_lists")
COUNTS = shared_tests("handlers", "test_count_runs")
DUE = shared_tests("handlers", "test_due_runs")


class ObjectRuns(Runs):
    """A factory whose flows have many runs in a bucket."""

    @classmethod
    def on(cls, url: str) -> ObjectRuns:
        """Make a factory with the URL of an empty folder."""
        return cls(cast("Path", url), kind="objects")

    @property
    def options(self) -> dict[str, Any]:
        """The options of a flow on this store: none, as the scheme names the handler."""
        return {"name": "runs"}


@pytest.fixture
def runs(bucket_url: str) -> Iterator[ObjectRuns]:
    """Give a factory of flows with many runs."""
    made = ObjectRuns.on(bucket_url)
    yield made
    made.forget()


@contextmanager
def opened(url: str, **options: Any) -> Generator[StateHandler]:  # noqa: ANN401
    """Give a handler of an empty store."""
    # The value of a fixture would live longer, and its connections with it.
    with closing(open_handler(url, name="orders", **options)) as made:
        yield made


@pytest.mark.parametrize(
    "shared",
    [
        LISTS.test_statuses,
        LISTS.test_fields_of_a_header,
        LISTS.test_order_is_that_of_the_beginnings,
        LISTS.test_pages,
        LISTS.test_pages_of_runs_that_began_together,
    ],
    ids=lambda test: test.__name__,
)
def test_as_in_every_store(shared: Callable[..., None], runs: ObjectRuns, runner: Runner) -> None:
    """Contents, order and pages of lists, and counts, are as in any other store."""
    shared(runs, runner)


@pytest.mark.parametrize("most", [2, pytest.param(20, marks=pytest.mark.torture)])
def test_filters(most: int, bucket_url: str) -> None:
    """Lists and counts are those of all headers, filtered, whole and by pages."""

    def check(**drawn: Any) -> None:  # noqa: ANN401
        FILTERS.check_lists(handler, **drawn)

    with opened(bucket_url) as handler:
        FILTERS.examples(most)(FILTERS.given_runs(check))()


def test_due_runs(bucket_url: str) -> None:
    """A list by `due_before` has the runs that recovery may take, the longest due first."""
    with opened(bucket_url) as handler:
        DUE.test_due_runs_are_listed_in_order(handler)


@pytest.mark.parametrize("status", ["running", "queued", "failed"])
def test_due_run_of_a_living_owner(status: str, bucket_url: str) -> None:
    """A run that is claimed is not due, until its owner lets go of it."""
    with opened(bucket_url) as handler:
        DUE.test_run_of_a_living_owner(status, handler)


def test_bracket_that_nothing_closes(bucket_url: str) -> None:
    """Such a bracket in a pattern is a character, as an empty pair is."""
    with opened(bucket_url) as handler:
        FILTERS.test_bracket_that_nothing_closes(handler)


def test_pruning_by_a_filter(bucket_url: str) -> None:
    """Pruning deletes the runs that a filter chooses, by columns or by headers, and no others."""
    with opened(bucket_url) as handler:
        FILTERS.test_pruning_by_a_filter(handler)


def test_pruning_deletes_what_is_kept_beside(
    objects: ObjectServer, bucket: str, bucket_url: str
) -> None:
    """Kept snapshots are deleted with their runs, and runs in progress stay."""
    with opened(bucket_url, keep="all") as handler:
        for number in range(3):
            handler.write({"n": number}, f"run-{number}")
            handler.write({"n": number}, f"run-{number}")
        with handler.locked("run-1"):
            assert handler.prune(Query()) == 2
        assert ids(handler.runs(Query())) == ["run-1"]
        kept = [name for name in names(objects, bucket) if "/kept/" in name]
        assert kept
        assert all("/kept/run-1/" in name for name in kept)
        assert handler.prune(Query()) == 1
        assert [name for name in names(objects, bucket) if "/kept/" in name] == []


def test_damaged_runs_are_left_out(
    objects: ObjectServer,
    bucket: str,
    runs: ObjectRuns,
    runner: Runner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A damaged run is left out with a warning, and shortens no page."""
    cp = LISTS.leave_one_of_each(runs)
    store = objects.store(bucket)
    for run in ("cancelled", "finished"):
        key = f"work/flows/runs/runs/{run}"
        content = bytearray(bytes(obstore.get(store, key).bytes()))
        content[content.index(b"\n") + 5] ^= 255
        obstore.put(store, key, bytes(content))
    assert listed(runner, cp) == ["failed", "stopped"]
    assert listed(runner, cp, limit=1) == ["failed"]
    assert "'cancelled'" in caplog.text
    assert "left out" in caplog.text


def test_thousand_runs(
    proxy: ObjectProxy, proxy_url: str, objects: ObjectServer, bucket: str
) -> None:
    """A list of a thousand runs is one listing of each folder, and one read for each in the list.

    A count by status reads the runs that have several names alone.
    """
    cp: CheckpointFlow[Any] = CheckpointFlow(proxy_url, name="f")
    cp.add_step(name="a")(lambda state: None)

    async def fill() -> None:
        await asyncio.gather(*(cp.arun({"n": n}, run_id=f"run-{n:04}") for n in range(1000)))

    asyncio.run(fill())
    with closing(open_handler(proxy_url, name="f", patience=61.0)) as handler:
        handler.runs(Query(limit=1))
        # Older names go some time after a run. Until then the run itself says which one counts.
        index = [one for one in names(objects, bucket) if "/open/" in one or "/done/" in one]
        begin = len(proxy.seen)
        assert handler.count() == 1000
        spent = proxy.kinds(begin)
        assert spent["LIST open"] <= 1
        assert spent["LIST done"] <= 2
        assert spent["GET runs"] <= len(index) - 1000
        for query in (
            Query(limit=10),
            Query(limit=10, after=handler.runs(Query(limit=1))[0]),
            Query(limit=10, statuses=frozenset({"finished"})),
        ):
            begin = len(proxy.seen)
            assert len(handler.runs(query)) == 10
            spent = proxy.kinds(begin)
            assert spent["LIST open"] + spent["LIST done"] <= 3
            assert spent["GET runs"] <= 10
        assert len(handler.runs(Query())) == 1000
        # The list has deleted the names of before.
        begin = len(proxy.seen)
        assert handler.count() == handler.count(where=RunFilter(frozenset({"finished"}))) == 1000
        assert handler.count(where=RunFilter(frozenset({"failed"}))) == 0
        assert not proxy.kinds(begin)["GET runs"]
    cp.handler.close()


@pytest.mark.parametrize("due", [True, False])
def test_runs_of_one_moment(*, due: bool, proxy: ObjectProxy, proxy_url: str) -> None:
    """They are in pages by their ids, and a page reads few more runs than it shows."""
    order = [f"run-{n * 7 % 24:02}" for n in range(24)]
    query = Query(limit=5, due_before=4e9 if due else None)
    with opened(proxy_url) as handler:
        for run in order:
            store(handler, run, "queued", started_at=600.0)
        begin = len(proxy.seen)
        page = handler.runs(query)
        assert proxy.kinds(begin)["GET runs"] == 5
        found = ids(page)
        while page := handler.runs(query._replace(after=page[-1])):
            found += ids(page)
        assert found == sorted(order, reverse=not due)
        # The place of an id that is hashed is not known before its run is read.
        store(handler, f"run-1{'x' * 300}", "queued", started_at=600.0)
        order.append(f"run-1{'x' * 300}")
        assert ids(handler.runs(query)) == sorted(order, reverse=not due)[:5]


def test_due_runs_of_two_pages(proxy: ObjectProxy, proxy_url: str) -> None:
    """A page of due runs reads the last run of the page before, and no others that it leaves."""
    with opened(proxy_url) as handler:
        for number in range(20):
            store(handler, f"run-{number:02}", "queued", started_at=600.0 + number)
        query = Query(limit=5, due_before=4e9)
        page = handler.runs(query)
        begin = len(proxy.seen)
        page = handler.runs(query._replace(after=page[-1]))
        assert ids(page) == [f"run-{number:02}" for number in range(5, 10)]
        assert proxy.kinds(begin)["GET runs"] == 6


def test_stale_index(objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """Names of the index that no run has are not listed, and runs without a name are."""
    with opened(bucket_url) as handler:
        store = objects.store(bucket)
        for number in range(3):
            handler.write({"n": number}, f"run-{number}")
        index = [one for one in names(objects, bucket) if "/open/" in one or "/done/" in one]
        one = next(name for name in index if name.endswith("run-1"))
        obstore.put(store, f"work/{one.removesuffix('run-1')}nobody", b"")
        assert sorted(map(str, ids(handler.runs(Query())))) == ["run-0", "run-1", "run-2"]


def test_status_that_changed(bucket_url: str) -> None:
    """A list by a status is what the runs say, and counts follow."""
    with opened(bucket_url) as handler:
        cp: CheckpointFlow[Any] = CheckpointFlow(handler.locate(), handler=handler, name="orders")
        fails = [True]

        @cp.add_step()
        def one(state: dict[str, Any]) -> None:
            if fails[0]:
                raise ConnectionError

        for number in range(3):
            with pytest.raises(ConnectionError):
                cp.run({}, run_id=f"run-{number}")
        assert cp.count(by="status")["failed"] == 3
        fails[0] = False
        cp.run(run_id="run-1")
        assert sorted(map(str, ids(cp.runs(status="failed")))) == ["run-0", "run-2"]
        counts = cp.count(by="status")
        assert (counts["failed"], counts["finished"], counts["running"]) == (2, 1, 0)
        assert handler.count(where=RunFilter(ids="run-1")) == 1


def test_stale_names(objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """A run with names of earlier states is listed and counted once, and they are deleted."""
    store, folder = objects.store(bucket), "work/flows/orders"
    with opened(bucket_url) as handler:
        handler.write({"n": 1}, "a")
        (name,) = [one for one in names(objects, bucket) if "/open/" in one or "/done/" in one]
        kind, _, own = name.removeprefix("flows/orders/").partition("/")
        began, _, due, number, run = own.split("_", 4)
        older = int(number[16:], 16)
        for less in (1, 2, 3):
            stale = f"{began}_r_{due}_{number[:16]}{older - less:x}_{run}"
            obstore.put(store, f"{folder}/open/{stale}", b"")
        assert sum(handler.count(by="status").values()) == 1
        assert [header.run_id for header in handler.runs(Query())] == ["a"]
    left = [one for one in names(objects, bucket) if "/open/" in one or "/done/" in one]
    assert left == [f"flows/orders/{kind}/{own}"]
