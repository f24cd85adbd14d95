"""Runs that are terminated from outside: flows that can be held anywhere, and what is left then."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, sql

from aiocheckpoint import CheckpointFlow, RunTerminatedError

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

    from aiocheckpoint import Header

PATIENCE = 60.0
REASON = "cancelled by the customer"


class Held:
    """Where a run is held: it says that it is there, and waits until it is let go."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.entered, self.free = threading.Event(), threading.Event()

    def hold(self) -> None:
        """Hold a thread."""
        self.entered.set()
        assert self.free.wait(PATIENCE)

    async def ahold(self) -> None:
        """Hold a task, for as long as nobody cancels it."""
        self.entered.set()
        await asyncio.sleep(PATIENCE)
        raise AssertionError("nobody has ended the step")

    async def aentered(self) -> None:
        """Wait until the run is here."""
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)


def held_flow(runs: Runs, **options: Any) -> tuple[CheckpointFlow, Held]:  # noqa: ANN401
    """Make a flow whose second step of three is held in a coroutine."""
    cp, held = runs.empty_flow(hooks=[runs.events.append], **options), Held()
    cp.add_step(name="first")(_note("first"))

    @cp.add_step()
    async def second(state: State) -> None:
        state["trail"].append("second")
        await held.ahold()

    cp.add_step(name="third")(_note("third"))
    return cp, held


def _note(name: str) -> Any:  # noqa: ANN401 - a step
    def note(state: State) -> None:
        state["trail"].append(name)

    return note


def given() -> State:
    """A state of such a flow."""
    return {"trail": []}


def assert_terminated(cp: CheckpointFlow, at: int, trail: list[str], run_id: str = "x") -> Header:
    """Check that a run is terminated at a step, with this state, and that it stays so."""
    header = cp.header(run_id)
    assert header is not None
    found = header.status, header.terminated_by, header.termination, header.position, header.owner
    assert found == ("terminated", "hand", REASON, at, None)
    assert cp.read(run_id) == {"trail": trail, "checkpoint_index": at}
    with pytest.raises(RunTerminatedError) as info:
        asyncio.run(cp.arun(run_id=run_id))
    assert (info.value.by, info.value.reason, info.value.run_id) == ("hand", REASON, run_id)
    assert cp.header(run_id) == header
    assert_clean(cp, run_id)
    return header


def assert_clean(cp: CheckpointFlow, run_id: str = "x") -> None:
    """Check that no request is left beside a run."""
    assert cp.handler.read_ending(run_id) is None


def assert_no_scraps(folder: Path) -> None:
    """Check that a store on a disk has no request and no record of a start."""
    left = [path.name for path in folder.rglob(".*") if path.suffix in {".end", ".start"}]
    assert left == []
    for database in folder.rglob("*.db"):
        assert sql(database, "SELECT ending FROM runs WHERE ending IS NOT NULL") == []
