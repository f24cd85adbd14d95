"""Whole runs on a cluster of Dask, beside a bare map of the same work."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Goal, Pair

from aiocheckpoint import CheckpointFlow
from workloads.flows import database
from workloads.shapes import small_state

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator
    from pathlib import Path


__all__ = ["dask_pair"]

_STEPS = 5
_SECONDS = 0.02
"""A step takes so long, as a request to a service does."""
_WORKERS = 2
_THREADS = 2
"""In each worker."""


@contextmanager
def dask_pair(runner: asyncio.Runner, directory: Path, runs: int) -> Generator[Pair, None, None]:
    """Give runs that `amap` sends, beside a bare `Client.map`, to be measured in turns.

    The cluster ends with the block.

    Args:
        runner: Has the loop.
        directory: Where the database is made.
        runs: How many runs are sent at once.
    """
    # Imported here because the other parts need no engine. Its types are partial.
    dask: Any = import_module("distributed")
    options = {"n_workers": _WORKERS, "threads_per_worker": _THREADS, "dashboard_address": ":0"}
    with dask.LocalCluster(**options) as cluster, dask.Client(cluster) as client:
        flow = CheckpointFlow(database(directory, "mapped"), name="counting")
        for number in range(_STEPS):
            flow.add_step(name=f"step {number}")(wait_and_count)
        samples = itertools.count()
        yield Pair(
            Contender(
                "run by amap on Dask",
                lambda: runner.run(_mapped_time(flow, client, runs, next(samples))),
            ),
            Contender("task by a bare Client.map", lambda: _bare_time(client, runs)),
            "ms",
            Goal(1.15),
        )


async def _mapped_time(flow: CheckpointFlow, client: Any, runs: int, sample: int) -> float:  # noqa: ANN401 - of an engine
    """Send runs, and give the milliseconds of each."""
    states = {f"{sample}-{number}": small_state() for number in range(runs)}
    begun = time.perf_counter()
    results = await flow.amap(states, executor=client.get_executor(), limit=runs)
    taken = time.perf_counter() - begun
    assert [one.state["count"] for one in results if one.state] == [_STEPS] * runs
    return taken * 1e3 / runs


def _bare_time(client: Any, runs: int) -> float:  # noqa: ANN401 - of an engine
    """Send as many bare tasks, and give the milliseconds of each."""
    states = [small_state() for _ in range(runs)]
    begun = time.perf_counter()
    results = client.gather(client.map(_all_steps, states, pure=False))
    taken = time.perf_counter() - begun
    assert [one["count"] for one in results] == [_STEPS] * runs
    return taken * 1e3 / runs


def wait_and_count(state: dict[str, Any]) -> None:
    """Wait, and count. Public, so that its name can be pickled by all."""
    time.sleep(_SECONDS)
    state["count"] += 1


def _all_steps(state: dict[str, Any]) -> dict[str, Any]:
    for _ in range(_STEPS):
        wait_and_count(state)
    return state
