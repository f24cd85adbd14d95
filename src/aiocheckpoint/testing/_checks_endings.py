"""Checks of the requests to terminate runs, for every state handler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import RunTerminatedError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.testing._checking import fresh, must, store, store_under

if TYPE_CHECKING:
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["ENDING_CHECKS"]

_REASON = "cancelled by caf\u00e9 \ud800\nand \0"


def check_ending(make: Make) -> None:
    """The request to terminate a run in progress reaches its owner, and is deleted with the run."""
    with fresh(make, "ending", "beside") as handler:
        for run_id in ("ending", "beside"):
            store(handler, run_id, "running")
        with handler.locked("ending") as lock:
            must(make().read_ending("ending") is None, "a run has no request of its own")
            must(handler.endings(["ending", "beside"]) == {}, "and none is found")
            make().write_ending("ending", _REASON)
            make().write_ending("ending", "later")
            found = handler.endings(["beside", "ending"])
            must(found == {"ending": _REASON}, "the first request is found, with its run")
            must(handler.endings(["beside"]) == {}, "a request is found for its run alone")
            must(make().read_ending("ending", lock=lock) == _REASON, "it is read for one run")
            must(make().read_ending("beside") is None, "another run has none")
            store_under(lock, handler, "ending", "running")
            must(make().read_ending("ending") == _REASON, "a snapshot leaves the request")
            handler.clear_ending("ending", lock)
            must(make().read_ending("ending") is None, "clear_ending() deletes the request")
            handler.clear_ending("ending", lock)
            make().write_ending("ending", "again")
            must(handler.endings(["ending"]) == {"ending": "again"}, "another one may follow")
        handler.remove("ending")
        must(make().read_ending("ending") is None, "a request is deleted with its run")


def check_unseen_ending(make: Make) -> None:
    """A request that no owner has seen ends the run at its next claim."""
    with fresh(make, "unseen"):
        trail: list[str] = []
        cp = CheckpointFlow("conformance", handler=make(), name=make().flow or None)

        @cp.add_step()
        def first(_state: dict[str, Any]) -> None:
            trail.append("first")

        @cp.add_step()
        def last(_state: dict[str, Any]) -> None:
            trail.append("last")

        with make().locked("unseen") as lock:
            store_under(lock, make(), "unseen", "running", position=0)
            make().write_ending("unseen", "asked")
        must(_is_refused(cp), "the run is terminated at its claim")
        must(trail == [], "before any step")
        header = make().header("unseen")
        must(header is not None and header.status == "terminated", "its header says so")
        must(header is not None and header.termination == "asked", "with the reason")
        must(header is not None and header.terminated_by == "hand", "and by whom")
        must(make().read_ending("unseen") is None, "and the request is deleted")
        must(_is_refused(cp), "a terminated run stays so")
        asyncio.run(cp.arun(run_id="unseen", checkpoint=1))
        must(trail == ["last"], "checkpoint= goes on with it")
        must(make().read_ending("unseen") is None, "and the request does not come back")


def _is_refused(cp: CheckpointFlow) -> bool:
    try:
        cp.run(run_id="unseen")
    except RunTerminatedError as error:
        return error.by == "hand" and error.reason == "asked"
    return False


ENDING_CHECKS: tuple[Check, ...] = (check_ending, check_unseen_ending)
"""Each check is called with `make`, see `check_handler`."""
