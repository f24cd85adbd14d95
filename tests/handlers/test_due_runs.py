"""Lists of the runs that are due: the same in every store, a page at a time."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, get_args

import pytest

from aiocheckpoint import LocalStateHandler
from aiocheckpoint._model.due import is_due
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint.handlers._query import Query, due_key
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import MemoryStateHandler
from aiocheckpoint.testing._checking import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aiocheckpoint.handlers import StateHandler

NOW = 1_000.0
TIMES = (None, 0.0, 10.0, 10.0, 999.5, 1_000.0, 2_000.0)


def stored(handler: StateHandler) -> list[Header]:
    """Store runs of every status, each due at every time."""
    stoppers = (None, "drain", "requeue", "until", "patch")
    headers = []
    kinds = itertools.product(get_args(Status), TIMES, stoppers)
    for number, (status, due, stopper) in enumerate(kinds):
        if stopper is not None and status != "stopped":
            continue
        facts = {"due": due, "stopped_by": stopper, "started_at": number % 3 * 600.0}
        by = "hand" if status == "terminated" else None
        headers.append(store(handler, f"run-{number}", status, terminated_by=by, **facts))
    return headers


@pytest.fixture(params=["local", "sqlite"])
def handler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateHandler]:
    """A store of many runs."""
    kinds = {"local": LocalStateHandler, "sqlite": SqliteStateHandler}
    with contextlib.closing(kinds[request.param](tmp_path / "runs", fsync=False)) as handler:
        yield handler


def test_due_runs_are_listed_in_order(handler: StateHandler) -> None:
    """A list by `due_before` has the runs that recovery may take, the longest due first."""
    headers = stored(handler)
    expected = [one.run_id for one in sorted(headers, key=due_key) if is_due(one, NOW)]
    assert 40 < len(expected) < len(headers)
    found = handler.runs(Query(due_before=NOW, unowned=True))
    assert [one.run_id for one in found] == expected
    paged = []
    last = None
    while page := handler.runs(Query(due_before=NOW, unowned=True, limit=7, after=last)):
        assert len(page) <= 7
        paged += page
        last = page[-1]
    assert [one.run_id for one in paged] == expected


@pytest.mark.parametrize("status", ["running", "queued", "failed"])
def test_run_of_a_living_owner(status: Status, handler: StateHandler) -> None:
    """A run that is claimed is not in the list, until its owner lets go of it."""
    store(handler, "held", status)
    store(handler, "free", status)
    query = Query(due_before=NOW, unowned=True)
    with handler.locked("held"):
        assert [one.run_id for one in handler.runs(query)] == ["free"]
        assert handler.runs(query._replace(limit=1))[0].run_id == "free"
    assert {one.run_id for one in handler.runs(query)} == {"free", "held"}


def test_memory() -> None:
    """The store in memory lists as the others do."""
    handler = MemoryStateHandler()
    headers = stored(handler)
    expected = [one.run_id for one in sorted(headers, key=due_key) if is_due(one, NOW)]
    found = handler.runs(Query(due_before=NOW, unowned=True))
    assert [one.run_id for one in found] == expected
