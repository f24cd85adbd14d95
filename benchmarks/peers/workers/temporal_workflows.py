"""The workflow and the activity of `temporal_worker.py`.

They have a module of their own, because Temporal imports it again into its sandbox.
"""

from datetime import timedelta
from importlib import import_module
from typing import Any

ACTIVITY = import_module("temporalio.activity")
WORKFLOW = import_module("temporalio.workflow")
LONGEST = timedelta(seconds=60)

with WORKFLOW.unsafe.imports_passed_through():
    from rival_worker import note


@ACTIVITY.defn  # type: ignore[untyped-decorator]
async def add_one(state: dict[str, Any]) -> dict[str, Any]:
    """Do the least that changes the state."""
    note()
    return state | {"count": state["count"] + 1}


@WORKFLOW.defn
class AddAll:
    """Awaits the activity, many times."""

    @WORKFLOW.run  # type: ignore[untyped-decorator]
    async def run(self, state: dict[str, Any], steps: int, local: bool) -> dict[str, Any]:  # noqa: FBT001 - arguments go by position
        """Give the state that there is at last."""
        execute = WORKFLOW.execute_local_activity if local else WORKFLOW.execute_activity
        for _ in range(steps):
            state = await execute(add_one, state, start_to_close_timeout=LONGEST)
        return state
