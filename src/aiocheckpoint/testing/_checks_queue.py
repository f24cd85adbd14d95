"""Checks of queued runs, for every state handler."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import StateConflictError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._checking import bytes_of, fresh, is_stored, must

if TYPE_CHECKING:
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["QUEUE_CHECKS"]

_RUNS = ("one", "two", "three", "later", "stored")


def check_queue(make: Make) -> None:
    """Queued runs are stored, one or many, listed when they are due, and run as they are."""
    listed = [header.run_id for header in make().runs(Query())]
    with fresh(make, *_RUNS, *listed) as handler:
        trail: list[str] = []
        cp = _flow(handler, trail)
        header = cp.submit({"n": 1}, run_id="one")
        must(header.status == "queued", "a submitted run is queued")
        must(is_stored(make(), header), "it is stored when the call returns")
        results = cp.submit({"two": {"n": 2}, "three": {"n": 3}})
        must([one.status for one in results] == ["queued", "queued"], "and so are many")
        must(make().read("three")["n"] == 3, "each with its state")  # noqa: PLR2004
        cp.submit({"n": 4}, run_id="later", due=timedelta(hours=1))
        must(_due(make()) == {"one", "two", "three"}, "those that are due are listed as such")
        must(make().count("status")["queued"] == 4, "all of them are counted")  # noqa: PLR2004
        must(not trail, "no step was run")
        state = _flow(make(), trail).run(run_id="two")
        must(state == {"n": 2, "trail": ["step"]}, "a queued run begins with its state")
        done = make().header("two")
        must(done is not None and done.finished and done.number == 1, "it is the run submitted")
        must(_due(make()) == {"one", "three"}, "a run that has ended is due no more")


def check_submitted_again(make: Make) -> None:
    """A stored run is not overwritten by a submission, one or many, and can be requeued."""
    with fresh(make, *_RUNS):
        trail: list[str] = []
        cp = _flow(make(), trail)
        cp.submit({"n": 1}, run_id="stored", due=timedelta(hours=1))
        before = bytes_of(make(), "stored")
        cp.submit({"n": 1}, run_id="stored")
        same, new = cp.submit({"stored": {"n": 1}, "two": {}})
        must((same.status, new.status) == ("queued", "queued"), "an equal state is no conflict")
        (other,) = cp.submit({"stored": {"n": 2}})
        must(isinstance(other.error, StateConflictError), "another state is one")
        with suppress(StateConflictError):
            cp.submit({"n": 2}, run_id="stored")
            must(holds=False, rule="another state is refused, also of one run")
        must(bytes_of(make(), "stored") == before, "what is stored of a run stays as it is")
        must(not _due(make()) - {"two"}, "a run that is due later is not listed as due")
        _flow(make(), trail).requeue("stored")
        must(_due(make()) == {"stored", "two"}, "a run that is made due now is listed as due")


def _due(handler: StateHandler) -> set[str | None]:
    query = Query(unowned=True, due_before=time.time())
    return {header.run_id for header in handler.runs(query)}


def _flow(handler: StateHandler, trail: list[str]) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)

    @cp.add_step()
    def step(state: dict[str, Any]) -> None:
        trail.append("step")
        state["trail"] = ["step"]

    return cp


QUEUE_CHECKS: tuple[Check, ...] = (check_queue, check_submitted_again)
"""Each check is called with `make`, see `check_handler`."""
