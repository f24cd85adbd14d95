"""Sends the runs of `engine_flow` to a cluster whose scheduler, or whose sender, is killed.

    python dask_loss_script.py scheduler|sender COUNT

Scheduler, workers and sender are processes of their own. A second call has to go on: without a
cluster where the scheduler was killed.

    python dask_loss_script.py send COUNT FILE

Is the sender, by the file of a scheduler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from distributed import Client
from engine_kills import await_true, share_done
from engine_steps import first_states, last_state, run_id

SHARE = 0.3
"""The share of all steps behind which is killed."""


def start(stack: ExitStack, *words: str) -> subprocess.Popen[bytes]:
    """Start a program of Python, which is killed at the end."""
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def start_cluster(stack: ExitStack, file: Path) -> subprocess.Popen[bytes]:
    """Start a scheduler and two workers, and give the scheduler."""
    by_file = ["--scheduler-file", str(file)]
    scheduler = start(stack, "-m", "distributed.cli.dask_scheduler", "--port", "0", *by_file)
    await_true(file.exists)
    for _ in range(2):
        start(stack, "-m", "distributed.cli.dask_worker", "--nthreads", "2", *by_file)
    return scheduler


def kill_later(process: subprocess.Popen[bytes], count: int) -> None:
    """Kill a process when a part of the work is done."""
    await_true(lambda: share_done(Path(os.environ["ENGINE_LOG"]), count) > SHARE)
    process.kill()


def send(count: int, file: Path | None) -> int:
    """Send the runs to a cluster, or execute them here. Give the number of errors."""
    from engine_flow import cp  # noqa: PLC0415 - the environment says where it stores

    runs = first_states(count)
    if file is None:
        results = [*cp.map(runs, once=True)]
    else:
        with Client(scheduler_file=str(file), timeout=5) as client:  # type: ignore[no-untyped-call]
            results = [*cp.map(runs, executor=client.get_executor(), limit=count, once=True)]
    ended = {one.run_id: one.state for one in results if one.error is None}
    assert ended.items() <= {run_id(number): last_state(number) for number in range(count)}.items()
    return len(results) - len(ended)


def main(lost: str, count: int, file: Path) -> None:
    """Lose one of both in the first call, and go on in the second."""
    with ExitStack() as stack:
        scheduler = start_cluster(stack, file)
        sender = start(stack, __file__, "send", str(count), str(file))
        kill_later(scheduler if lost == "scheduler" else sender, count)
        sender.wait()
        if lost == "sender":
            assert send(count, file) == 0
    assert send(count, None) == 0


if __name__ == "__main__":
    way, number, *given = sys.argv[1:]
    if way == "send":
        send(int(number), Path(given[0]))
    else:
        main(way, int(number), Path(os.environ["ENGINE_LOG"]).parent / "scheduler.json")
