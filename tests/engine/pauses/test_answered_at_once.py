"""A pause that another process answers as soon as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint import Pause
from aiocheckpoint._engine import outcomes

if TYPE_CHECKING:
    import pytest
    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow


def asking(runs: Runs) -> CheckpointFlow:
    """Make a flow that waits for a name."""
    cp = runs.empty_flow()

    @cp.add_step()
    def ask(state: State) -> None:
        state["half"] = True
        if "by" not in state:
            raise Pause("who?")

    return cp


async def test_run_goes_on_elsewhere_at_once(
    database: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first caller gets the state on entry, though the run has ended elsewhere meanwhile."""
    update_header, elsewhere = outcomes.update_header, asking(database)

    async def stored_and_answered(*arguments: Any) -> Any:  # noqa: ANN401
        cancellation = await update_header(*arguments)
        if not database.log:
            database.log.append("answered")
            await elsewhere.arun(run_id="x", update={"by": "Ann"})
        return cancellation

    monkeypatch.setattr(outcomes, "update_header", stored_and_answered)
    assert await asking(database).arun({"n": 1}, run_id="x") == {"n": 1}
    assert await elsewhere.aread("x") == {
        "n": 1,
        "by": "Ann",
        "half": True,
        "checkpoint_index": 0,
    }
