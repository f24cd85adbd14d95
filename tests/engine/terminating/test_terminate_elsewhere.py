"""Runs that are terminated from another process than the one that they are in progress in."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from locations import program
from terminated_runs import PATIENCE, REASON, assert_no_scraps
from terminated_script import STEPS, make_flow

from aiocheckpoint import CheckpointFlow, Header, RunTerminatedError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the place of a store."""
    return {
        "sqlite": f"sqlite:///{tmp_path}/runs.db",
        "directory": f"{tmp_path}/runs/",
    }[request.param]


@contextmanager
def carried(store: str, how: str, folder: Path) -> Generator[subprocess.Popen[str], None, None]:
    """Give a process that carries the run, in its second step."""
    command = [sys.executable, str(program("terminated_script.py")), store, how, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not (folder / "entered").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def terminated(cp: CheckpointFlow) -> Header:
    """The header of the run, which is terminated."""
    header = cp.header("x")
    assert header is not None
    assert (header.status, header.terminated_by, header.termination) == (
        "terminated",
        "hand",
        REASON,
    )
    assert header.owner is None
    with pytest.raises(RunTerminatedError):
        cp.run(run_id="x")
    return header


def test_coroutine(store: str, tmp_path: Path) -> None:
    """A coroutine is interrupted soon, under `arun` and under `run`."""
    how = "arun" if store.startswith("sqlite") else "run"
    cp = make_flow(store, how, tmp_path)
    with carried(store, how, tmp_path) as process:
        header = cp.terminate("x", REASON, wait=PATIENCE)
        assert process.communicate(timeout=PATIENCE)[0] == f"hand {REASON}\n"
    found = terminated(cp)
    assert header == found
    assert found.position == 1
    assert cp.read("x") == {"trail": ["first"], "checkpoint_index": 1}
    assert_no_scraps(tmp_path)


def test_sync_step(store: str, tmp_path: Path) -> None:
    """A sync step under `run` ends behind itself."""
    cp = make_flow(store, "sync", tmp_path)
    with carried(store, "sync", tmp_path) as process:
        assert cp.terminate("x", REASON) is None
        assert cp.terminate("x", "once more", wait=1.5) is None
        (tmp_path / "free").touch()
        assert process.communicate(timeout=PATIENCE)[0] == f"hand {REASON}\n"
    assert terminated(cp).position >= 3
    assert cp.read("x")["trail"] == ["first", "lasts", "waits"]
    assert_no_scraps(tmp_path)


def test_order_of_a_customer(store: str, tmp_path: Path) -> None:
    """A run of many short steps ends at one of the next ones, by a call that does not wait."""
    cp = make_flow(store, "steps", tmp_path)
    with carried(store, "steps", tmp_path) as process:
        assert cp.terminate("x", REASON) is None
        assert process.communicate(timeout=PATIENCE)[0] == f"hand {REASON}\n"
    header = terminated(cp)
    assert header.position < STEPS
    assert cp.read("x").get("steps", 0) == max(0, header.position - 3)
    assert_no_scraps(tmp_path)


@pytest.mark.leaves_files
def test_killed_owner(store: str, tmp_path: Path) -> None:
    """A request outlives the owner that is killed right behind it, and ends the run before a step.

    Whoever asks again, or would go on with the run, finds it out.
    """
    cp = make_flow(store, "sync", tmp_path)
    with carried(store, "sync", tmp_path) as process:
        assert cp.terminate("x", REASON) is None
        process.kill()
        process.wait(PATIENCE)
        assert cp.header("x").status == "running"  # type: ignore[union-attr]
        if store.startswith("sqlite"):
            with pytest.raises(RunTerminatedError):
                cp.run({}, run_id="x")
        else:
            header = cp.terminate("x", REASON, wait=PATIENCE)
            assert header is not None
    assert terminated(cp).position == 2
    assert cp.read("x")["trail"] == ["first", "lasts"]
    assert_no_scraps(tmp_path)
