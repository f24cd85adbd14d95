"""`aiocheckpoint flows` and `aiocheckpoint count`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from order_store import store_orders

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

FLOWS = """\
FLOW    RUNS  STATUS                                   BYTES  OLDEST    NEWEST
orders     6  3 failed, 1 finished, 1 paused, 1 queued {size}  10:41:07  12 s ago
"""
COUNTS = {
    "": "3  ✗ failed\n1  ✓ finished\n1  ‖ paused\n1  ○ queued\n",
    "--by status": "3  ✗ failed\n1  ✓ finished\n1  ‖ paused\n1  ○ queued\n",
    "--by step,error --status failed": (
        "2  charge   httpx.ConnectTimeout\n1  reserve  service.OutOfStockError\n"
    ),
    "--by step --by status --error *": "2  charge   ✗ failed\n1  reserve  ✗ failed\n",
    "--by day": "6  2026-11-30\n",
    "--step nowhere": "",
}


@pytest.fixture
def orders(tmp_path: Path, at_quarter_to: None) -> Path:
    """A folder with the database of orders."""
    return store_orders(tmp_path)


def test_flows(orders: Path) -> None:
    """A line for each flow has its runs by status, its bytes, and its times."""
    done = invoke("flows", "orders.db", cwd=orders)
    size = json.loads(invoke("flows", "orders.db", "--output", "jsonl", cwd=orders).out)["size"]
    assert (done.code, done.err) == (0, "")
    assert [line.split() for line in done.out.splitlines()] == [
        line.split() for line in FLOWS.format(size=f"{size:,}").splitlines()
    ]


def test_flows_of_a_module(orders: Path) -> None:
    """A module target has the one flow, and its prints are no data."""
    done = invoke("flows", "service:cp", "--no-header", cwd=orders)
    assert done.out.split()[:2] == ["orders", "6"]
    assert done.err == "the service is imported\n"


@pytest.mark.parametrize("words", COUNTS)
def test_counts(words: str, orders: Path) -> None:
    """A line for each kind has the number first, and the greatest number comes first."""
    done = invoke("count", "orders.db", *words.split(), cwd=orders)
    assert (done.code, done.out, bool(done.err)) == (0, COUNTS[words], not COUNTS[words])


def test_count_as_json(orders: Path) -> None:
    """The document has the facts, the rows and their sum."""
    words = ("count", "orders.db", "--by", "step,error", "--status", "failed", "--output")
    document = json.loads(invoke(*words, "json", cwd=orders).out)
    assert document["version"] == 1
    assert document["count"]["total"] == 3
    assert document["count"]["rows"][0] == [["charge", "httpx.ConnectTimeout"], 2]
    lines = invoke(*words, "jsonl", cwd=orders).out.splitlines()
    assert json.loads(lines[0]) == {"step": "charge", "error": "httpx.ConnectTimeout", "runs": 2}


def test_built_in_errors(tmp_path: Path) -> None:
    """People read a built-in error without its module, and programs read both."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/mails.db", name="mails", fsync=False)
    cp.add_step(name="send")(lambda state: state["to"])
    with pytest.raises(KeyError):
        cp.run({}, run_id="mail-1")
    cp.handler.close()
    words = ["count", "mails.db", "--by", "error", "--error", "KeyError"]
    assert invoke(*words, cwd=tmp_path).out == "1  KeyError\n"
    record = json.loads(invoke(*words, "--output", "jsonl", cwd=tmp_path).out)
    assert record == {"error": "builtins.KeyError", "runs": 1}
    for command in (["runs", "mails.db"], ["show", "mails.db", "mail-1", "--traceback", "last"]):
        done = invoke(*command, cwd=tmp_path)
        assert "KeyError" in done.out
        assert "builtins" not in done.out
