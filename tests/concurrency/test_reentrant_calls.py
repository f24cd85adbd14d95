"""Signal handlers and finalizers that call the library in the midst of its calls: nothing hangs."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 20.0
POOL_SIZE = 4
PLACES = {
    "signal",
    "finalizer in the main thread",
    "finalizer in a thread",
    "finalizer in a step thread",
    "finalizer on a loop",
}
STORES = [
    "file",
    "directory",
    "memory",
    "sqlite",
]

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")


def interrupt(store: str, path: Path, seconds: float) -> dict[str, Any]:
    """Interrupt a store for some time in a process of its own. Give what it reports."""
    seed = random.SystemRandom().randrange(1 << 32)
    words = [store, str(path), str(seconds), str(seed)]
    command = [sys.executable, str(program("reentrant_script.py")), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    reported: dict[str, Any] = json.loads(done.stdout)
    assert reported["unexpected"] == [], f"seed {seed}"
    return reported


@pytest.mark.parametrize("store", STORES)
def test_nothing_hangs(store: str, tmp_path: Path) -> None:
    """Each call in the midst of another one works, or raises an error of the library."""
    reported = interrupt(store, tmp_path, 1.0)
    assert reported["counts"].keys() & PLACES, "nothing was interrupted"


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", STORES)
def test_nothing_hangs_for_long(store: str, tmp_path: Path) -> None:
    """The same for a minute, in which calls come from every place."""
    reported = interrupt(store, tmp_path, 60.0)
    assert reported["counts"].keys() >= PLACES


class Finalized:
    """Calls a function at the end of its life."""

    def __init__(self, function: Callable[[], object]) -> None:
        """Call this one."""
        self.function = function

    def __del__(self) -> None:
        """Call it."""
        self.function()


def test_all_snapshot_threads_wait_for_snapshot_threads(tmp_path: Path) -> None:
    """Where finalizers wait for snapshots in all threads for snapshots, each gets its own."""
    together, found = threading.Barrier(POOL_SIZE, timeout=PATIENCE), list[object]()
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="a")(lambda state: state.update(done=True))
    cp.run({})

    def finalize() -> None:
        together.wait()
        found.append(asyncio.run(cp.aread()))

    def work() -> None:
        Finalized(finalize)

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(run_in_thread(SNAPSHOTS, work) for _ in range(POOL_SIZE)))

    asyncio.run(main())
    assert found == [{"done": True, "checkpoint_index": 0}] * POOL_SIZE


def test_signal_in_the_lock_of_a_store_in_memory() -> None:
    """A signal handler that runs a flow while another run of the store takes its lock."""
    handler, states = MemoryStateHandler(), list[object]()
    cp = CheckpointFlow("memory", handler)
    cp.add_step(name="a")(lambda state: None)

    class Owners(dict[Any, Any]):
        def setdefault(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401
            owners.setdefault = super().setdefault  # type: ignore[method-assign, assignment]
            signal.raise_signal(signal.SIGUSR1)
            return super().setdefault(key, default)

    owners = Owners()
    vars(handler)["_owners"] = owners
    before = signal.signal(signal.SIGUSR1, lambda *_: states.append(cp.run({}, run_id="inner")))
    try:
        cp.run({}, run_id="outer")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert states == [{}]
    assert {run.run_id for run in cp.runs()} == {"inner", "outer"}
