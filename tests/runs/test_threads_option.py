"""`threads=` of a flow: the checks, and the setting that all its runs share."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError
from aiocheckpoint._concurrency import step_threads

if TYPE_CHECKING:
    from pathlib import Path

LOOPS = 30
PATIENCE = 20.0
BAD: list[tuple[Any, type[Exception]]] = [
    *((threads, InvalidTypeError) for threads in (None, "4", 4.0, True)),
    *((threads, InvalidValueError) for threads in (0, -1)),
]


@pytest.mark.parametrize(("threads", "error"), BAD, ids=repr)
def test_bad_number(threads: Any, error: type[Exception], tmp_path: Path) -> None:  # noqa: ANN401
    """A number of threads is an int from 1 on."""
    with pytest.raises(error, match="threads="):
        CheckpointFlow(tmp_path / "checkpoint.pkl", threads=threads)


@pytest.mark.parametrize(("options", "count"), [({}, 40), ({"threads": 1}, 1)], ids=repr)
def test_settings(options: dict[str, Any], count: int, tmp_path: Path) -> None:
    """The settings of the flow have the number, also for the run of a stream with its own hook."""
    cp = CheckpointFlow(tmp_path / "checkpoint.pkl", **options)
    settings = cp._core.settings  # noqa: SLF001
    found = [one.active_runs.step_threads.count for one in (settings, settings.with_hook(print))]
    assert found == [count, count]


@pytest.mark.parametrize(("options", "most"), [({"threads": 2}, 2), ({}, 40)], ids=repr)
async def test_most_at_once(options: dict[str, Any], most: int, tmp_path: Path) -> None:
    """So many sync steps run at once, however large the limit of runs is, and never more."""
    cp = CheckpointFlow(tmp_path / "runs", handler="local", fsync=False, **options)
    inside: set[object] = set()
    counts: list[int] = []
    full = threading.Event()

    def step(state: dict[str, Any]) -> None:
        inside.add(state["n"])
        counts.append(len(inside))
        if len(inside) == most:
            full.set()
        assert full.wait(PATIENCE)
        time.sleep(0.05)  # More would come in by now.
        inside.remove(state["n"])

    cp.add_step()(step)
    results = await cp.amap({str(n): {"n": n} for n in range(most + 3)}, limit=most + 3)
    assert {repr(result.error) for result in results} == {"None"}
    assert max(counts) == most


def count_step_threads() -> int:
    """Count the threads for steps of all flows."""
    return [thread.name for thread in threading.enumerate()].count("aiocheckpoint-step")


def test_threads_end_with_their_loop(tmp_path: Path) -> None:
    """Many short loops, as in a script that calls `asyncio.run`, leave no threads behind."""
    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    cp.add_step(name="a")(lambda state: state.update(n=1))
    for _ in range(LOOPS):
        asyncio.run(cp.arun({}))
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while count_step_threads() > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_threads_end_with_their_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that makes a flow for each request keeps no threads of flows that are gone."""
    monkeypatch.setattr(step_threads, "_IDLE_SECONDS", 0.05)

    async def run_one(number: int) -> None:
        cp = CheckpointFlow(tmp_path / f"{number}.pkl", fsync=False)
        cp.add_step(name="a")(lambda state: state.update(n=1))
        await cp.arun({})

    for number in range(LOOPS):
        await run_one(number)
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while count_step_threads() > 0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
