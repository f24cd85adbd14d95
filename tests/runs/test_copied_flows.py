"""A flow is a definition and a place: it can be copied, pickled and sent to another process."""

from __future__ import annotations

import asyncio
import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

resource_tracker.ensure_running()  # It keeps a descriptor, and no test leaves one behind.

State = dict[str, Any]
WAYS: dict[str, Callable[[CheckpointFlow], CheckpointFlow]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda cp: pickle.loads(pickle.dumps(cp)),
    "dill": lambda cp: dill.loads(dill.dumps(cp)),
}


def count(state: State) -> None:
    """Add one."""
    state["n"] = state.get("n", 0) + 1


def flow(tmp_path: Path) -> CheckpointFlow:
    """Make a flow of one step that plain pickle finds by its name, and use it once."""
    cp = CheckpointFlow(tmp_path / "runs/", threads=3)
    cp.add_step(name="a")(count)
    asyncio.run(cp.arun({}))
    return cp


@pytest.mark.parametrize("way", WAYS)
def test_copy_has_steps_of_its_own(way: str, tmp_path: Path) -> None:
    """A copy works on the same place, and a step added to it is not the original's."""
    cp = flow(tmp_path)
    other = WAYS[way](cp)
    other.add_step(name="b")(count)
    assert (cp.run({}), other.run({})) == ({"n": 1}, {"n": 2})
    assert asyncio.run(other.arun({})) == {"n": 2}
    assert cp.header() == other.header()
    cp.add_step(name="b")(count)
    assert cp.run({}) == {"n": 2}
    assert repr(other).replace("'b'", "") == repr(cp).replace("'b'", "")


@pytest.mark.parametrize("way", WAYS)
def test_copy_finds_names_of_its_steps(way: str, tmp_path: Path) -> None:
    """A copy looks for names of a script in the modules of its own steps."""
    other = WAYS[way](flow(tmp_path))
    assert other.handler.codec.modules.searched("__main__")[-1] is globals()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_flow_in_another_process(method: str, tmp_path: Path) -> None:
    """A pool of processes runs a flow that was sent to it."""
    cp = flow(tmp_path)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert pool.submit(cp.run, {"n": 1}, run_id="x").result() == {"n": 2}
    header = cp.header("x")
    assert header is not None
    assert header.finished
