"""Checks of a store as a whole, for every state handler: counting, looking and copying."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Any, get_args

from aiocheckpoint._model.header import Status
from aiocheckpoint.errors import InvalidValueError, StorageError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.testing._checking import bytes_of, emptied, must, not_checked, store, store_under

if TYPE_CHECKING:
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["STORE_CHECKS"]


def check_count(make: Make) -> None:
    """Runs are counted, in all, by status and by step, and the list has as many."""
    statuses: dict[str, Status] = {
        "one": "finished",
        "two": "finished",
        "three": "failed",
        "four": "running",
    }
    with emptied(make, *statuses) as handler:
        none = dict.fromkeys(get_args(Status), 0)
        must(handler.count() == 0, "count() is 0 where nothing is stored")
        must(handler.count(by="status") == none, "every status is a key, also where it has no run")
        for run_id, status in statuses.items():
            store(handler, run_id, status, steps=("a", "b"))
        number = len(handler.runs(Query()))
        must(make().count() == number == len(statuses), "count() gives the number of listed runs")
        expected = none | {"finished": 2, "failed": 1, "running": 1}
        must(make().count(by="status") == expected, "count(by='status') gives each status's number")
        expected_steps = {None: 2, "b": 2}
        must(
            make().count(by="step") == expected_steps,
            "count(by='step') gives the number of runs at each step, and of those at none",
        )
        must(asyncio.run(make().acount(by="status")) == expected, "acount() gives the same")
        make().remove("one")
        must(make().count() == number - 1, "a deleted run is not counted")


def check_reader(make: Make) -> None:
    """A reader finds what the handler stores, and opens it, on whatever handler it was made."""
    statuses: dict[str, Status] = {"one": "finished", "two": "failed", "three": "running"}
    with emptied(make, *statuses, "four") as handler:
        must(list(make().reader().found("")) == [], "a reader finds nothing in an empty store")
        for run_id, status in statuses.items():
            store(handler, run_id, status, steps=("a", "b"))
        listed = [(header.run_id, header.status) for header in handler.runs(Query())]
        with make().reader() as reader:
            must(reader.exists(), "exists() of a reader is true where something is stored")
            found = list(reader.runs(handler.flow, ALL, "began", None))
            seen = [(run.run_id, run.status) for run in found]
            must(seen == listed, "runs() of a reader has the runs of runs(), in their order")
            first = list(reader.runs(handler.flow, ALL, "wrote", 1))
            must(len(first) == 1, "runs() of a reader gives no more than its limit")
            counts = reader.counts(handler.flow, ("status",), ALL)
            expected = {("finished",): 1, ("failed",): 1, ("running",): 1}
            must(counts == expected, "counts() of a reader gives each status's number")
            (run,) = reader.find(handler.flow, "two")
            with closing(reader.open(run) or io.BytesIO()) as file:
                must(file.read() == bytes_of(handler, "two"), "open() of a reader has the bytes")
            must(list(reader.find("", "four")) == [], "find() gives nothing of a missing run")
            must(reader.snapshots(run)[0] == run, "the newest snapshot of a run comes first")


def check_backup(make: Make) -> None:
    """A store in use is copied whole to a new place, and the copy is a store of its own."""
    if not _is_backed_up(make):
        raise not_checked("backup() makes no copies, and says so")


def _is_backed_up(make: Make) -> bool:
    """Check the copy of a store, or give False where none is made."""
    with emptied(make, "one", "held") as handler, tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "backup")
        store(handler, "one")
        store(handler, "held", "running")
        try:
            with make().locked("held"):
                handler.backup(place)
        except InvalidValueError:
            return False
        kind: Any = type(handler)  # A handler's class takes a path.
        copy: StateHandler = kind(place, flow=handler.flow)
        copy.codec = handler.codec
        must(copy.runs(Query()) == handler.runs(Query()), "a copy lists the runs of the store")
        must(bytes_of(copy, "one") == bytes_of(handler, "one"), "a copy has the same snapshots")
        with copy.locked("held") as lock:
            store_under(lock, copy, "held")
        copy.remove("one")
        must(_is_listed(handler, "one"), "a run that is deleted in the copy stays in the store")
        try:
            handler.backup(place)
        except StorageError:
            must(not _is_listed(copy, "one"), "backup() overwrites nothing")
        else:
            must(holds=False, rule="backup() refuses a path at which something is")
        copy.close()
        return True


def _is_listed(handler: StateHandler, run_id: str) -> bool:
    """Whether a run is in the list of a handler."""
    return run_id in [header.run_id for header in handler.runs(Query())]


STORE_CHECKS: tuple[Check, ...] = (check_count, check_reader, check_backup)
"""Each check is called with `make`, see `check_handler`."""
