"""`aiocheckpoint runs`: its lines, documents and exit codes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cli import invoke

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Store three runs of a flow in a database: one finished, two failed."""
    cp = CheckpointFlow(tmp_path / "orders.db", handler="sqlite", fsync=False)

    @cp.add_step()
    def charge(state: State) -> None:
        if state["item"] == "slow":
            raise TimeoutError(state["item"])

    for number, item in enumerate(["book", "slow", "slow"]):
        with suppress(TimeoutError):
            cp.run({"item": item}, run_id=f"order-{number}")
    cp.handler.close()
    return tmp_path


def test_filtered(orders: Path) -> None:
    """A filter chooses runs, and the latest begun is the first."""
    done = invoke("runs", "orders.db", "--status", "FAILED", "--no-header", cwd=orders)
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == ["order-2", "order-1"]


def test_json(orders: Path) -> None:
    """One document has the version and the records."""
    done = invoke("runs", "orders.db", "--output", "json", cwd=orders)
    document = json.loads(done.out)
    assert document["version"] == 1
    assert [run["run_id"] for run in document["runs"]] == ["order-2", "order-1", "order-0"]


def test_no_store(tmp_path: Path) -> None:
    """A store that is not there has its own exit code, and nothing on stdout."""
    done = invoke("runs", "nothing.db", cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "nothing is stored" in done.err
