"""Calls of one process share the run under way: all of them have its end, and none polls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import PATIENCE, Runs

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidValueError,
    LeaseLostError,
    LocalStateHandler,
    Pause,
    RunInProgressError,
)
from aiocheckpoint._concurrency.waiting_room import count_waiting, notify
from aiocheckpoint._engine import locking
from aiocheckpoint.handlers import _notice_port
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

    from aiocheckpoint.handlers import Lock

NEVER = 10_000.0


@pytest.fixture(autouse=True)
def wake_ups_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no call ask for a lock by itself, so that only the end of a run wakes it."""
    monkeypatch.setattr(_notice_port, "_SECONDS_BETWEEN_CLAIMS", NEVER)
    monkeypatch.setattr(locking, "_POLL_SECONDS_HERE", NEVER)
    monkeypatch.setattr(locking, "_MOST_POLL_SECONDS", NEVER)


class FailsOnce:
    """The end of a step that fails when it is called first."""

    def __init__(self) -> None:
        """Count no calls yet."""
        self.calls: int = 0

    def __call__(self, _: State) -> None:
        """Fail the first time."""
        self.calls += 1
        if self.calls == 1:
            raise OSError("the bank refuses")


class Gate:
    """A flow whose only step waits, and then does what it is told."""

    def __init__(self, runs: Runs, ends: Callable[[State], object] = lambda _: None) -> None:
        """Make the flow."""
        self.cp = runs.empty_flow()
        self.location: str = self.cp.handler.locate("x")
        self.begun, self.free = asyncio.Event(), asyncio.Event()
        self.runs = list[Any]()

        @self.cp.add_step()
        async def work(state: State) -> None:
            self.runs.append(state["n"])
            self.begun.set()
            await self.free.wait()
            ends(state)
            state["done"] = True

    async def call(self, state: State | None = None, **options: Any) -> State:  # noqa: ANN401
        """Ask for the run as a repeated request does."""
        usual: dict[str, Any] = {"run_id": "x", "once": True, "wait": PATIENCE}
        return await self.cp.arun({"n": 1} if state is None else state, **{**usual, **options})

    async def tasks(self, number: int, **options: Any) -> list[asyncio.Task[State]]:  # noqa: ANN401
        """Start the call that runs, and then others that wait for it."""
        calls = [asyncio.create_task(self.call(**options))]
        await self.begun.wait()
        calls += [asyncio.create_task(self.call(**options)) for _ in range(number - 1)]
        await self.waiting(number - 1)
        return calls

    async def waiting(self, number: int) -> None:
        """Wait until so many calls wait for the run."""
        while count_waiting(self.location) != number:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


async def test_finished(runs: Runs) -> None:
    """Each call has the result, in a state of its own, and the step ran once."""
    gate = Gate(runs)
    calls = await gate.tasks(30)
    gate.free.set()
    states = await asyncio.gather(*calls)
    assert states == [{"n": 1, "done": True}] * 30
    assert (len({id(state) for state in states}), gate.runs) == (30, [1])


async def test_failed(runs: Runs) -> None:
    """Each call has the exception of the step, the same object with one note."""
    error = OSError("the bank refuses")

    def refuse(_: State) -> None:
        raise error

    gate = Gate(runs, refuse)
    calls = await gate.tasks(10)
    gate.free.set()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert all(one is error for one in errors)
    assert (gate.runs, len(error.__notes__)) == ([1], 1)
    header = await gate.cp.aheader("x")
    assert header is not None
    assert (header.status, header.attempts) == ("failed", {})


async def test_failure_shows_the_line_that_broke(runs: Runs) -> None:
    """The traceback of a call that shared the run ends in the step, behind one frame of ours."""

    def refuse(_: State) -> None:
        raise OSError("the bank refuses")

    gate = Gate(runs, refuse)
    first, waiting = await gate.tasks(2)
    gate.free.set()
    with pytest.raises(OSError, match="bank"):
        await first
    with pytest.raises(OSError, match="bank") as info:
        await waiting
    assert [entry.name for entry in info.traceback][-3:] == ["arun", "work", "refuse"]


async def test_failed_with_another_state(runs: Runs) -> None:
    """A call that gave another state tries the step itself."""

    def refuse(_: State) -> None:
        if len(gate.runs) == 1:
            raise OSError("the bank refuses")

    gate = Gate(runs, refuse)
    calls = await gate.tasks(1)
    other = asyncio.create_task(gate.call({"n": 2}))
    await gate.waiting(1)
    gate.free.set()
    with pytest.raises(OSError, match="bank"):
        await calls[0]
    assert await other == {"n": 1, "done": True}
    assert gate.runs == [1, 1]


@pytest.mark.parametrize("asked", [{"until": "work"}, {"load_policy": "always"}])
async def test_failed_for_another_request(asked: dict[str, Any], runs: Runs) -> None:
    """A call that asks for other steps or loaders tries the step itself."""
    gate = Gate(runs, fails_once := FailsOnce())
    (first,) = await gate.tasks(1)
    other = asyncio.create_task(gate.call(**asked))
    await gate.waiting(1)
    gate.free.set()
    with pytest.raises(OSError, match="bank"):
        await first
    assert await other == {"n": 1, "done": True}
    assert fails_once.calls == 2


async def test_failed_in_another_version(runs: Runs) -> None:
    """A call of another version of the flow migrates the run, and tries the step itself."""
    gate = Gate(runs, FailsOnce())
    later = runs.empty_flow(version=1, migrate=lambda state, _: state.update(migrated=True))
    later.add_step(name="work")(lambda state: state.update(done=True))
    (first,) = await gate.tasks(1)
    other = asyncio.create_task(later.arun({"n": 1}, run_id="x", once=True, wait=PATIENCE))
    await gate.waiting(1)
    gate.free.set()
    with pytest.raises(OSError, match="bank"):
        await first
    assert await other == {"n": 1, "migrated": True, "done": True}


async def test_lost_lock(tmp_path: Path) -> None:
    """A call whose run has lost its lock shares that with nobody: another call takes over."""
    cp, runs = CheckpointFlow(tmp_path / "c.pkl", fsync=False), list[int]()
    begun, free = asyncio.Event(), asyncio.Event()

    @cp.add_step()
    async def work(state: State) -> None:
        runs.append(state["n"])
        begun.set()
        await free.wait()
        if len(runs) == 1:
            (tmp_path / ".c.x.pkl.lock").unlink()

    first = asyncio.create_task(cp.arun({"n": 1}, run_id="x", once=True))
    await begun.wait()
    other = asyncio.create_task(cp.arun({"n": 1}, run_id="x", once=True, wait=PATIENCE))
    while not count_waiting(cp.handler.locate("x")):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)
    free.set()
    with pytest.raises(LeaseLostError):
        await first
    assert await other == {"n": 1}
    assert runs == [1, 1]


async def test_cancelled(runs: Runs) -> None:
    """Another call takes over a run whose call was cancelled, and the others share that one."""
    gate = Gate(runs)
    first, *others = await gate.tasks(5)
    first.cancel()
    await gate.waiting(3)
    gate.free.set()
    assert await asyncio.gather(*others) == [{"n": 1, "done": True}] * 4
    assert (first.cancelled() or isinstance(first.exception(), asyncio.CancelledError)) is True
    assert gate.runs == [1, 1]


async def test_all_cancelled_one_after_the_other(runs: Runs) -> None:
    """As long as one call is left, it has the result."""
    gate = Gate(runs)
    calls = await gate.tasks(5)
    for left in (3, 2, 1, 0):
        calls.pop(0).cancel()
        await gate.waiting(left)
    gate.free.set()
    assert await calls[0] == {"n": 1, "done": True}


async def test_turn_of_a_cancelled_call(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is cancelled at the moment of its turn hands the turn on."""
    gate = Gate(runs)
    calls = await gate.tasks(4)

    def notify_and_cancel(location: str, result: object) -> None:
        notify(location, result)
        calls[1].cancel()

    monkeypatch.setattr(locking, "notify", notify_and_cancel)
    calls[0].cancel()
    gate.free.set()
    assert await asyncio.gather(*calls[2:]) == [{"n": 1, "done": True}] * 2
    assert [call.cancelled() for call in calls[:2]] == [True, True]


async def test_paused(runs: Runs) -> None:
    """Each call has the state of the paused run, and the step did not look again for each."""

    def pause(_: State) -> None:
        raise Pause("waits for approval")

    gate = Gate(runs, pause)
    calls = await gate.tasks(10)
    gate.free.set()
    assert await asyncio.gather(*calls) == [{"n": 1}] * 10
    assert gate.runs == [1]


async def test_the_very_dict(runs: Runs) -> None:
    """Calls that give one dict for one run share it as well, and are in no conflict."""
    gate, given = Gate(runs), {"n": 1}
    calls = await gate.tasks(5, state=given)
    gate.free.set()
    states = await asyncio.gather(*calls)
    assert states == [{"n": 1, "done": True}] * 5
    assert [state is given for state in states].count(True) == 1


async def test_other_state_in_a_finished_run(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """A call with another state has the result as well, and the log warns of it."""
    gate = Gate(runs)
    calls = await gate.tasks(1)
    other = asyncio.create_task(gate.call({"n": 2}))
    await gate.waiting(1)
    gate.free.set()
    assert await asyncio.gather(*calls, other) == [{"n": 1, "done": True}] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_resume_waits_for_the_result(runs: Runs) -> None:
    """`aresume` with `wait=` has the result of the run that it waited for."""
    gate = Gate(runs)
    calls = await gate.tasks(1)
    resuming = [asyncio.create_task(gate.cp.aresume("x", wait=PATIENCE)) for _ in range(3)]
    await gate.waiting(3)
    gate.free.set()
    assert await asyncio.gather(*calls, *resuming) == [{"n": 1, "done": True}] * 4
    assert gate.runs == [1]


async def test_runs_in_turn(runs: Runs) -> None:
    """Without `once`, each call runs anew, one after the other."""
    gate = Gate(runs)
    calls = await gate.tasks(10, once=False)
    gate.free.set()
    assert await asyncio.gather(*calls) == [{"n": 1, "done": True}] * 10
    assert gate.runs == [1] * 10


async def test_drain(runs: Runs) -> None:
    """A drain ends the waiting at once, also of other flow objects' runs."""
    gate, waits = Gate(runs), runs.flow()
    calls = await gate.tasks(1)
    options: dict[str, Any] = {"run_id": "x", "once": True, "wait": PATIENCE}
    refused = [asyncio.create_task(waits.arun({"n": 1}, **options)) for _ in range(3)]
    await gate.waiting(3)
    await waits.adrain()
    for call in refused:
        with pytest.raises(DrainingError):
            await call
    gate.free.set()
    assert await calls[0] == {"n": 1, "done": True}


async def test_end_of_the_wait(runs: Runs) -> None:
    """A call whose time is over is told the owner, and leaves no trace among the others."""
    gate = Gate(runs)
    calls = await gate.tasks(2)
    with pytest.raises(RunInProgressError):
        await gate.call(wait=0.02)
    assert count_waiting(gate.location) == 1
    gate.free.set()
    assert await asyncio.gather(*calls) == [{"n": 1, "done": True}] * 2
    assert count_waiting(gate.location) == 0


async def test_reset_wakes(runs: Runs) -> None:
    """A call that waits for the lock of a reset begins the run anew."""
    gate = Gate(runs)
    calls = await gate.tasks(3)
    gate.free.set()
    await asyncio.gather(*calls)
    await gate.cp.areset(run_id="x")
    assert await gate.call({"n": 5}) == {"n": 5, "done": True}


class Counting(MemoryStateHandler):
    """A store that counts how often each lock is asked for."""

    def __init__(self) -> None:
        """Have counted nothing yet."""
        super().__init__("counting")
        self.asked: Counter[str | None] = Counter()

    def lock(self, run_id: str | None = None) -> Any:  # noqa: ANN401 - a private class
        """Give a lock that counts."""
        lock: Lock = super().lock(run_id)
        acquire = lock.acquire

        def counted() -> None:
            self.asked[run_id] += 1
            acquire()

        lock.acquire = counted  # type: ignore[method-assign]
        return lock


async def test_nobody_polls(tmp_path: Path) -> None:
    """While a run of this process goes on, no call that waits for it asks for its lock again."""
    handler = Counting()
    runs = Runs(tmp_path, kind="memory", memory=handler)
    gate = Gate(runs)
    calls = await gate.tasks(100)
    asked = handler.asked["x"]
    await asyncio.sleep(0.2)
    assert handler.asked["x"] == asked <= 101
    gate.free.set()
    await asyncio.gather(*calls)
    assert handler.asked["x"] == asked, "a call took the lock of a finished run"


@pytest.mark.parametrize("fails", [False, True])
def test_threads_and_loops(fails: bool, runs: Runs) -> None:  # noqa: FBT001 - a parameter
    """Calls of `run` in threads, and of `arun` on loops of their own, share one run."""
    cp, ran, results = runs.empty_flow(), list[int](), list[Any]()
    begun, free = threading.Event(), threading.Event()

    @cp.add_step()
    def work(state: State) -> None:
        ran.append(1)
        begun.set()
        assert free.wait(PATIENCE)
        if fails:
            raise OSError("the bank refuses")
        state["done"] = True

    def call(*, on_loop: bool) -> None:
        options: dict[str, Any] = {"run_id": "x", "once": True, "wait": PATIENCE}
        try:
            if on_loop:
                results.append(asyncio.run(cp.arun({"n": 1}, **options)))
            else:
                results.append(cp.run({"n": 1}, **options))
        except OSError as error:
            results.append(error)

    kinds = (False, True, False, True, False)
    threads = [threading.Thread(target=call, kwargs={"on_loop": kind}) for kind in kinds]
    threads[0].start()
    assert begun.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    pause = threading.Event()
    while count_waiting(cp.handler.locate("x")) < 4:
        pause.wait(0.001)
    free.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(results), ran) == (5, [1])
    if fails:
        assert len({id(result) for result in results}) == 1
    else:
        assert results == [{"n": 1, "done": True}] * 5


OWNER = """
import sys
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow(sys.argv[1], sys.argv[2])

@cp.add_step()
def work(state, data):
    print("held", flush=True)
    sys.stdin.read()
    state["done"] = True

cp.run({"n": 1}, run_id="x")
"""


@pytest.mark.parametrize("kind", ["sqlite", "directory"])
@pytest.mark.parametrize("killed", [False, True])
async def test_run_of_another_process(
    kind: str,
    killed: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of a run elsewhere reaches all calls here, and that of its process as well."""
    monkeypatch.setattr(_notice_port, "_SECONDS_BETWEEN_CLAIMS", 0.05)
    runs = Runs.at(tmp_path, kind)
    handler = "sqlite" if kind == "sqlite" else "local"
    command = [sys.executable, "-c", OWNER, str(runs.path), handler]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as owner:  # noqa: ASYNC220 - beside a short loop
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        gate = Gate(runs)
        gate.free.set()
        calls = [asyncio.create_task(gate.call()) for _ in range(40)]
        await gate.waiting(40)
        if killed:
            owner.kill()
        await asyncio.to_thread(owner.communicate)
    assert await asyncio.gather(*calls) == [{"n": 1, "done": True}] * 40
    assert gate.runs == ([1] if killed else [])


async def test_dict_of_another_run_that_a_waiting_call_gives(runs: Runs) -> None:
    """A call that waits claims its dict when its turn comes. Another run may have it by then."""
    gate, given = Gate(runs), {"n": 1}
    calls = await gate.tasks(1, state=given, once=False)
    waits = asyncio.create_task(gate.call(given, once=False))
    await gate.waiting(1)
    with pytest.raises(InvalidValueError, match="the very dict"):
        await gate.cp.arun(given, run_id="y")
    gate.free.set()
    assert await asyncio.gather(*calls, waits) == [given] * 2


def test_file_without_an_id(tmp_path: Path) -> None:
    """The one run of a file is shared as well."""
    cp = CheckpointFlow("unused", handler=LocalStateHandler(tmp_path / "c.pkl", flow="unused"))
    begun, free, ran = threading.Event(), threading.Event(), list[int]()

    @cp.add_step()
    def work(state: State) -> None:
        ran.append(1)
        begun.set()
        assert free.wait(PATIENCE)

    results = list[Any]()
    threads = [
        threading.Thread(target=lambda: results.append(cp.run({"n": 1}, once=True, wait=PATIENCE)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE)
    free.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (results, ran) == ([{"n": 1}] * 3, [1])
