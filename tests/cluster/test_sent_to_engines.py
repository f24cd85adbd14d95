"""Flows and runs that are sent to loky, joblib, Dask and Ray, and by cloudpickle."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import cloudpickle  # type: ignore[import-untyped]
import pytest
import travelling_flows
from locations import program
from travelling_flows import closure_flow

from aiocheckpoint import UnpicklableFlowError

if TYPE_CHECKING:
    from pathlib import Path


def send(engine: str, kind: str, place: str) -> None:
    """Send a flow on a store, and runs of it, to an engine in a process of its own."""
    ran = subprocess.run(
        [sys.executable, program("sent_to_engines_script.py"), engine, kind, place],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert ran.stdout.endswith("done\n"), ran.stderr[-5_000:]


@pytest.mark.parametrize("kind", ["name", "closure"])
@pytest.mark.parametrize("engine", ["loky", "joblib", "dask", "ray"])
def test_engine_takes_a_flow(engine: str, kind: str, tmp_path: Path) -> None:
    """A flow by value works on its store in a worker, and so do runs that are sent whole."""
    send(engine, kind, f"{tmp_path}/runs/" if kind == "name" else f"sqlite:///{tmp_path}/runs.db")


@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_engine_takes_a_flow_on_postgres(engine: str, database_url: str) -> None:
    """Its workers connect by the same URL, and no connection travels."""
    send(engine, "closure", database_url)


def test_cloudpickle(tmp_path: Path) -> None:
    """It takes closures, and a global of a module by its target."""
    flow = closure_flow(tmp_path / "runs.pkl")
    there = cloudpickle.loads(cloudpickle.dumps(flow))
    assert repr(there) == repr(flow)
    assert cloudpickle.loads(cloudpickle.dumps(travelling_flows.cp)) is travelling_flows.cp
    with pytest.raises(UnpicklableFlowError):
        cloudpickle.dumps(travelling_flows.signed)


def test_module_that_cloudpickle_sends_along() -> None:
    """A module that is registered to travel by value takes its flow by value."""
    cloudpickle.register_pickle_by_value(travelling_flows)
    try:
        there = cloudpickle.loads(cloudpickle.dumps(travelling_flows.cp))
    finally:
        cloudpickle.unregister_pickle_by_value(travelling_flows)
    assert there is not travelling_flows.cp
    assert repr(there) == repr(travelling_flows.cp)
