"""Prints the resources and the priority of a task of Dask that is a run, in JSON.

Executed beside the files of docs/dask.md, whose class `Urgent` it uses.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from importlib import import_module
from typing import Any

from distributed import Client, LocalCluster


def tasks_of(client: Client) -> list[dict[str, Any]]:
    """Give resources and priority of each task that the scheduler has."""

    def look(dask_scheduler: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (by its name)
        return [
            {"resources": task.resource_restrictions, "priority": -task.priority[0]}
            for task in [*dask_scheduler.tasks.values()]
        ]

    return list(client.run_on_scheduler(look))  # type: ignore[no-untyped-call]


def main() -> None:
    """Send a run, which waits for a worker that is missing until the task was seen."""
    urgent, cp = import_module("send_to_gpus").Urgent, import_module("survey_flow").cp
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=0, resources={"GPU": 1}, threads_per_worker=1, dashboard_address=":0"
    )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        executor = urgent(client.get_executor(resources={"GPU": 1}), priority=10)
        sending = threading.Thread(
            target=lambda: [*cp.map({"x": {"text": "thaw"}}, executor=executor)]
        )
        sending.start()
        while not (found := tasks_of(client)):
            time.sleep(0.02)
        cluster.scale(1)  # type: ignore[no-untyped-call]
        sending.join()
    sys.stdout.write(json.dumps(found[0]) + "\n")


if __name__ == "__main__":
    main()
