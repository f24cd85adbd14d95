"""Sends a flow to an engine, and runs of it where the engine has an executor: ENGINE FLOW PLACE.

A process of its own, since engines leave threads behind.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from travelling_flows import closure_flow, find_secret, local_flow, run_there

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from aiocheckpoint import CheckpointFlow


def check(flow: CheckpointFlow, state: dict[str, Any]) -> None:
    """Check that the run "x" has finished in another process, on the store of the flow."""
    stored = flow.read("x")
    del stored["checkpoint_index"]
    assert stored == state
    assert state["pid"] != os.getpid()


def check_runs(flow: CheckpointFlow, executor: Executor) -> None:
    """Check runs that are sent whole."""
    results = list(flow.map({"y": {"n": 1}, "z": {"n": 2}}, executor=executor))
    assert {one.status for one in results} == {"finished"}
    assert {one.state["pid"] for one in results if one.state}.isdisjoint([os.getpid()])


def loky(flow: CheckpointFlow) -> None:
    """Send it to a process of loky."""
    from loky import ProcessPoolExecutor  # type: ignore[import-untyped]  # noqa: PLC0415

    with ProcessPoolExecutor(1) as executor:
        check(flow, executor.submit(run_there, flow, "x").result())
        check_runs(flow, executor)


def joblib(flow: CheckpointFlow) -> None:
    """Send it to processes of joblib."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]  # noqa: PLC0415

    calls = (delayed(run_there)(flow, name) for name in ("x", "y"))
    states: Any = Parallel(n_jobs=2)(calls)
    check(flow, states[0])


def dask(flow: CheckpointFlow) -> None:
    """Send it to a worker of Dask."""
    import distributed  # noqa: PLC0415

    untyped: Any = distributed
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with untyped.LocalCluster(**options) as cluster, untyped.Client(cluster) as client:
        check(flow, client.submit(run_there, flow, "x").result())
        check_runs(flow, client.get_executor())


def in_ray(flow: CheckpointFlow) -> None:
    """Send it to a worker of Ray."""
    import ray  # noqa: PLC0415

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, address="local")
    check(flow, ray.get(ray.remote(run_there).remote(flow, "x")))
    ray.shutdown()


if __name__ == "__main__":
    engine, kind, place = sys.argv[1:]
    sent = local_flow(place, secret=find_secret) if kind == "name" else closure_flow(place)
    {"loky": loky, "joblib": joblib, "dask": dask, "ray": in_ray}[engine](sent)
    sys.stdout.write("done\n")
