"""`aiocheckpoint runs`: its lines, documents and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from order_store import open_orders, store_orders
from stored_runs import queue_run

if TYPE_CHECKING:
    from pathlib import Path

ALL = """\
6 runs of orders in orders.db
RUN       STATUS      AT STEP      ERROR                    TRIES  BEGAN     WROTE
order-61  ✗ failed    1/4 reserve  service.OutOfStockError      1  10:41:12  12 s ago
order-60  ○ queued    1/4 reserve                                  10:41:11  30 s ago
order-59  ‖ paused    2/4 approve                               1  10:41:10  40 s ago
order-58  ✓ finished                                               10:41:09  50 s ago
order-57  ✗ failed    3/4 charge   httpx.ConnectTimeout         5  10:41:08  1 min ago
order-42  ✗ failed    3/4 charge   httpx.ConnectTimeout         5  10:41:07  1 min ago
"""
FAILED = """\
3 failed of 6 runs of orders in orders.db
RUN       AT STEP      ERROR                    TRIES  BEGAN     WROTE
order-61  1/4 reserve  service.OutOfStockError      1  10:41:12  12 s ago
order-57  3/4 charge   httpx.ConnectTimeout         5  10:41:08  1 min ago
order-42  3/4 charge   httpx.ConnectTimeout         5  10:41:07  1 min ago
"""


def names(*words: object, cwd: Path) -> list[str]:
    """The ids of the runs that are listed."""
    done = invoke("runs", "orders.db", *words, "--output", "jsonl", cwd=cwd)
    assert (done.code, done.err) == (0, "")
    return [json.loads(line)["run_id"] for line in done.out.splitlines()]


@pytest.fixture
def orders(tmp_path: Path, at_quarter_to: None) -> Path:
    """A folder with the database of orders."""
    return store_orders(tmp_path)


def test_all(orders: Path) -> None:
    """A table has all runs, the latest begun first, whole and without an escape."""
    assert invoke("runs", "orders.db", cwd=orders) == (0, ALL, "")


def test_one_status(orders: Path) -> None:
    """Where one status is asked for, the title says it, and no column does."""
    assert invoke("runs", "orders.db", "--status", "FAILED", cwd=orders) == (0, FAILED, "")


def test_module_target(orders: Path) -> None:
    """A flow's own store is listed as well, and what resuming would do is one command away."""
    done = invoke("runs", "service:cp", "--status", "failed", cwd=orders)
    assert (done.code, done.out.splitlines()[1:]) == (0, FAILED.splitlines()[1:])
    assert done.err.splitlines() == [
        "the service is imported",
        "What resuming would do: aiocheckpoint resume service:cp --status failed --dry-run",
    ]


def test_no_header(orders: Path) -> None:
    """Without the titles, each line is a run."""
    done = invoke("runs", "orders.db", "--no-header", cwd=orders)
    assert [line.split() for line in done.out.splitlines()] == [
        line.split() for line in ALL.splitlines()[2:]
    ]


def test_wide(orders: Path) -> None:
    """A wide table says why a run waits, and how large its snapshot is."""
    done = invoke("runs", "orders.db", "--wide", "--status", "paused,queued", cwd=orders)
    queued, paused = done.out.splitlines()[2:]
    assert paused.endswith("over the limit")
    assert queued.endswith("due in 10 min")


FILTERS = {
    "--status failed,paused": ["order-61", "order-59", "order-57", "order-42"],
    "--status failed --status paused": ["order-61", "order-59", "order-57", "order-42"],
    "--step charge": ["order-57", "order-42"],
    "--step charge --step approve": ["order-59", "order-57", "order-42"],
    "--error *Timeout": ["order-57", "order-42"],
    "--error OutOfStockError": ["order-61"],
    "--id *-5?": ["order-59", "order-58", "order-57"],
    "--tried 5": ["order-57", "order-42"],
    "--since 35s": ["order-61", "order-60"],
    "--since 2026-11-30T10:44:30Z": ["order-61", "order-60"],
    "--before 1m": ["order-57", "order-42"],
    "--stale": [],
    "--limit 2": ["order-61", "order-60"],
    "--limit 2 --all --step charge": ["order-57", "order-42"],
    "--sort wrote --limit 1": ["order-61"],
    "--sort took --limit 1": ["order-61"],
}


@pytest.mark.parametrize("words", FILTERS)
def test_filters(words: str, orders: Path) -> None:
    """Each filter chooses its runs."""
    assert names(*words.split(), cwd=orders) == FILTERS[words]


TITLES = {
    "--limit 2": "the 2 begun last of 6 runs of orders in orders.db",
    "--limit 2 --sort wrote": "the 2 written last of 6 runs of orders in orders.db",
    "--limit 1 --status failed": "the 1 failed begun last of 6 runs of orders in orders.db",
    "--limit 6": "6 runs of orders in orders.db",
    "--all": "6 runs of orders in orders.db",
    "--all --step charge": "2 chosen of 6 runs of orders in orders.db",
    "--status failed,paused": "4 failed or paused of 6 runs of orders in orders.db",
    "--step nowhere": "0 chosen of 6 runs in orders.db",
    "--step nowhere --flow orders": "0 chosen of 6 runs of orders in orders.db",
}


@pytest.mark.parametrize("words", TITLES)
def test_titles(words: str, orders: Path) -> None:
    """The first line says how many runs are listed, and of how many."""
    done = invoke("runs", "orders.db", *words.split(), cwd=orders)
    assert done.out.splitlines()[0] == TITLES[words]


def test_json(orders: Path) -> None:
    """One document has the version and the records, with times in UTC."""
    done = invoke("runs", "orders.db", "--output", "json", cwd=orders)
    document = json.loads(done.out)
    assert document["version"] == 1
    run = document["runs"][0]
    assert (run["run_id"], run["status"], run["step"]) == ("order-61", "failed", "reserve")
    assert run["written_at_utc"] == "2026-11-30T10:44:48.000Z"


def test_json_of_nothing(orders: Path) -> None:
    """A document without runs is a document."""
    done = invoke("runs", "orders.db", "--step", "nowhere", "--output", "json", cwd=orders)
    assert (done.code, json.loads(done.out)) == (0, {"version": 1, "runs": []})


def test_several_flows(orders: Path) -> None:
    """Where a store has several flows and none is named, the list of them is the answer."""
    cp = open_orders(orders, "bills")
    queue_run(cp, "bill-1", {}, written_at=1_796_035_470.0, started_at=1_796_035_470.0)
    cp.handler.close()
    done = invoke("runs", "orders.db", cwd=orders)
    assert done.code == 2
    assert [line.split()[0] for line in done.out.splitlines()] == ["FLOW", "bills", "orders"]
    assert done.err == "Name one of these flows by --flow.\n"
    assert names("--flow", "bills", cwd=orders) == ["bill-1"]
    listed = invoke("runs", "orders.db", "--output", "json", cwd=orders)
    assert [one["flow"] for one in json.loads(listed.out)["flows"]] == ["bills", "orders"]


def test_no_store(tmp_path: Path) -> None:
    """A store that is not there has its own exit code, and nothing on stdout."""
    done = invoke("runs", "nothing.db", "--output", "json", cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "there is no store nothing.db" in done.err


def test_no_number(orders: Path) -> None:
    """A limit below 1 is refused with the remedy."""
    done = invoke("runs", "orders.db", "--limit", "0", cwd=orders)
    assert (done.code, done.out) == (2, "")
    assert "--all" in done.err
