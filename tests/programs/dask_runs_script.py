"""Executes the runs of `engine_flow` on a cluster of Dask, whose workers are killed at random.

    python dask_runs_script.py runs|bare COUNT KILLS THREADS

With "runs", each run is sent by `map(executor=)`. With "bare", it is a chain of five tasks without
checkpoints, for comparison. Prints the seconds that the work took.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import dask.config
from distributed import Client, LocalCluster, as_completed
from engine_kills import await_true, kill_at_random
from engine_steps import STEPS, duration, first_state, first_states, last_state, note, run_id

WORKERS = 3


def kill(cluster: LocalCluster, number: int) -> None:
    """Kill the process of a worker. Its nanny starts another."""
    nanny = [*cluster.workers.values()][number]
    await_true(lambda: nanny.pid is not None)
    os.kill(nanny.pid, signal.SIGKILL)


def send_runs(client: Client, count: int) -> None:
    """Send the runs, and check the states that come back."""
    from engine_flow import cp  # noqa: PLC0415 - a chain of tasks has no store

    executor = client.get_executor()  # type: ignore[no-untyped-call]
    results = cp.map(first_states(count), executor=executor, limit=count)
    found = {result.run_id: result.state for result in results}
    assert found == {run_id(number): last_state(number) for number in range(count)}


def bare_step(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Do as a step of the flow, without a checkpoint."""
    run = run_id(state["number"])
    note("begin", run, name, f"{run}-{name}".ljust(64, "-"))
    time.sleep(duration())
    note("end", run, name, f"{run}-{name}".ljust(64, "-"))
    return {**state, "trail": [*state["trail"], f"{name} {state['number']}"]}


def send_chains(client: Client, count: int) -> None:
    """Send a chain of tasks for each run. A task is tried again as often as its worker dies."""
    ends = []
    for number in range(count):
        made: Any = first_state(number)
        for name in STEPS:
            made = client.submit(partial(bare_step, name), made, retries=100, pure=False)
        ends.append(made)
    done = as_completed(ends, with_results=True)  # type: ignore[no-untyped-call]
    states = [state for _, state in done]
    assert sorted(state["number"] for state in states) == [*range(count)]


def main(way: str, *numbers: str) -> None:
    """Send all runs while workers are killed."""
    count, kills, threads = map(int, numbers)
    # Else three kills of a worker that it waited for end a task, of whatever it is guilty.
    patience = {"distributed.scheduler.allowed-failures": 1000} if way == "bare" else {}
    with dask.config.set(patience):
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=WORKERS, threads_per_worker=threads, dashboard_address=":0"
        )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        log, killer = Path(os.environ["ENGINE_LOG"]), partial(kill, cluster)
        killing = threading.Thread(
            target=kill_at_random, args=(log, count, kills, WORKERS, killer), daemon=True
        )
        begun = time.monotonic()
        killing.start()
        (send_runs if way == "runs" else send_chains)(client, count)
        sys.stdout.write(f"{time.monotonic() - begun:.1f}\n")
        killing.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
