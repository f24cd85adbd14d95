"""Runs of every status, and all that is stored of one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, Header, Pause

if TYPE_CHECKING:
    from run_factories import Runs

    from aiocheckpoint.handlers import StateHandler

UNFINISHED = ("queued", "killed", "stopped", "paused", "failed", "cancelled")


def put_header(handler: StateHandler, run_id: str, **facts: Any) -> Header:  # noqa: ANN401
    """Store a run's header with other facts, and the state as it is."""
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        assert found is not None
        copy = partial(handler.codec.copy, replace(found.header, **facts), found)
        return handler.replace(run_id, copy, found.header, lock=lock)[0]


def make_run(runs: Runs, status: str, step: str = "b") -> CheckpointFlow:
    """Leave a run "x" that began with {"n": 1}, has that status, and stands at a step."""
    cp = runs.flow()
    faults = {"paused": Pause("why"), "failed": ValueError(), "cancelled": KeyboardInterrupt()}
    if status == "queued":
        cp.submit({"n": 1}, run_id="x", due=timedelta(hours=1))
    else:
        runs.faults[f"step {step}"] = faults.get(status, ValueError())
        with suppress(ValueError, KeyboardInterrupt):
            cp.run({"n": 1}, run_id="x")
    if status in {"killed", "stopped"}:
        stopped = {"status": "stopped", "stopped_by": "until"}
        facts = stopped if status == "stopped" else {"status": "running"}
        put_header(cp.handler, "x", **facts, failure=None)
    if status == "terminated":
        facts = {"status": "terminated", "terminated_by": "hand", "termination": "no stock"}
        put_header(cp.handler, "x", **facts)
    runs.forget()
    runs.log.clear()
    return cp


def stored(cp: CheckpointFlow) -> tuple[Header, dict[str, Any]]:
    """All that is stored of run "x"."""
    header = cp.header("x")
    assert header is not None
    return header, cp.read("x")
