"""Runs a flow of Prefect's many times at once, see `rival_worker.py`.

The setup follows its documentation on results and caching. Tasks persist their results in the
default place, local files, under a cache policy that reuses them if a flow is called again with the
same arguments. The server is its temporary one, in a process of its own. All settings are defaults,
except logs and analytics.
"""

import asyncio
import os
from importlib import import_module
from typing import Any

from rival_worker import arguments, note, serve

PACKAGES = ("prefect",)
SETTINGS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
}


async def add_one(run_id: str, state: dict[str, Any]) -> dict[str, Any]:
    """Do the least that changes the state."""
    note()
    return state | {"count": state["count"] + 1}


class Flows:
    """A flow of one task, many times."""

    def __init__(self, prefect: Any, policy: Any, steps: int) -> None:  # noqa: ANN401
        task = prefect.task(persist_result=True, cache_policy=policy)(add_one)

        async def add_all(run_id: str, state: dict[str, Any]) -> int:
            for _ in range(steps):
                state = await task(run_id, state)
            return int(state["count"])

        self._flow = prefect.flow(add_all)

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Call the flow; the id is an argument, so that no other run's results are taken."""
        return int(await self._flow(run_id, state))


async def main() -> None:
    """Serve with a fresh home."""
    path, steps, state = arguments()
    os.environ.update(SETTINGS, PREFECT_HOME=path)  # Prefect reads them at import.
    policies = import_module("prefect.cache_policies")
    flows = Flows(import_module("prefect"), policies.INPUTS + policies.TASK_SOURCE, steps)
    await serve(flows, PACKAGES, steps, state)


if __name__ == "__main__":
    asyncio.run(main())
