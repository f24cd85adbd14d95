"""A step that has returned when its run is cancelled is done: it is stored, and not repeated."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from flaky_steps import AnyStore
from interrupts import this_task
from locations import program
from support import State, notes_of

from aiocheckpoint import CheckpointFlow, LocalStateHandler, events

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 30.0


class Work:
    """A sync step that goes on until it is let go, in a flow of three."""

    def __init__(self, store: AnyStore, held: str) -> None:
        """Hold that step or saver, such as "step b"."""
        self.store, self.held = store, held
        self.calls: list[str] = []
        self.begun, self.let_go = threading.Event(), threading.Event()

    def flow(self, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make the flow, as the next process would."""
        cp = self.store.empty_flow(**options)
        for name in "abc":
            save = self._part(f"save {name}") if "save" in self.held else None
            cp.add_step(save=save, name=name)(self._part(f"step {name}"))
        return cp

    def _part(self, call: str) -> Any:  # noqa: ANN401
        def part(state: State) -> None:
            self.calls.append(call)
            state[call] = "done"
            if call == self.held:
                self.begun.set()
                assert self.let_go.wait(PATIENCE)

        return part

    async def cancelled(self, cp: CheckpointFlow) -> asyncio.CancelledError:
        """Run, cancel the run in the held step, and give the one exception that comes out."""
        run = asyncio.create_task(cp.arun({}, run_id=self.store.run_id))
        assert await asyncio.to_thread(self.begun.wait, PATIENCE)
        run.cancel("enough")
        await asyncio.sleep(0)
        self.let_go.set()
        with pytest.raises(asyncio.CancelledError) as info:
            await run
        self.held = ""
        return info.value


@pytest.mark.parametrize("held", ["step b", "save b"])
async def test_stored_and_cancelled_behind_it(held: str, any_store: AnyStore) -> None:
    """The snapshot behind the step is stored, the header and the note say cancelled behind it."""
    work = Work(any_store, held)
    error = await work.cancelled(work.flow())
    assert error.args == ("enough",)
    assert "step 2 of 3, 'b', was done when the run was cancelled" in notes_of(error)
    assert "holds the state after 'b'. Run again: it resumes behind that step" in notes_of(error)
    done = list(work.calls)
    assert any_store.stored() == {**dict.fromkeys(done, "done"), "checkpoint_index": 2}
    if any_store.has_headers:
        header = any_store.header()
        assert (header.status, header.position) == ("cancelled", 2)
        assert list(header.durations) == ["a", "b"]
        failure = header.failure
        assert failure is not None
        assert (failure.step, failure.part) == ("b", "snapshot")
    kinds = [type(event) for event in any_store.events]
    assert kinds[-3:] == [events.StepFinished, events.SnapshotWritten, events.StepFailed]
    await work.flow().arun(run_id=any_store.run_id)
    assert [call for call in work.calls if "step" in call] == ["step a", "step b", "step c"]


async def test_last_step(any_store: AnyStore) -> None:
    """A run cancelled in its last step is finished, though the cancellation comes out."""
    work = Work(any_store, "step c")
    error = await work.cancelled(work.flow())
    assert "The run is finished" in notes_of(error)
    assert notes_of(error).splitlines()[-1].startswith("await cp.aread(")
    if any_store.has_headers:
        header = any_store.header()
        assert (header.status, header.failure) == ("finished", None)
        again = await work.flow().arun({}, run_id=any_store.run_id, once=True)
        assert list(again) == work.calls == ["step a", "step b", "step c"]


async def test_stopped_flow(simple_store: AnyStore) -> None:
    """A run that is drained and cancelled in the same step is stored behind it as well."""
    work = Work(simple_store, "step b")
    cp = work.flow()

    async def drained() -> list[str | None]:
        assert await asyncio.to_thread(work.begun.wait, PATIENCE)
        return await cp.adrain()

    drain = asyncio.create_task(drained())
    await work.cancelled(cp)
    assert await drain == []
    assert simple_store.stored()["checkpoint_index"] == 2


@pytest.mark.parametrize("kind", ["on the loop", "coroutine"])
async def test_step_cancels_its_own_task(kind: str, tmp_path: Path) -> None:
    """A step that cancels its task and returns is done, and not called again."""
    calls = list[str]()

    def step(state: State) -> None:
        calls.append("own")
        this_task().cancel()

    async def coroutine(state: State) -> None:
        step(state)

    def flow() -> CheckpointFlow:
        cp = CheckpointFlow(tmp_path / "c.pkl")
        cp.add_step(name="own", thread=False)(step if kind == "on the loop" else coroutine)
        cp.add_step(name="next")(lambda state: calls.append("next"))
        return cp

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(flow().arun({}))
    await flow().arun()
    assert calls == ["own", "next"]


async def test_loader_alone_is_no_step(tmp_path: Path) -> None:
    """A loader that ended while a cancellation waited makes no step done."""
    work = Work(AnyStore.at(tmp_path, "file"), "load b")
    cp = work.store.empty_flow()
    cp.add_step(name="a")(lambda state: None)
    load = work._part("load b")  # noqa: SLF001
    cp.add_step(name="b", load=lambda state: load(state) or {})(lambda state: None)
    run = asyncio.create_task(cp.arun({}, "always"))
    assert await asyncio.to_thread(work.begun.wait, PATIENCE)
    run.cancel()
    await asyncio.sleep(0)
    work.let_go.set()
    with pytest.raises(asyncio.CancelledError) as info:
        await run
    assert "'b', was cancelled in its part 'load'" in notes_of(info.value)
    assert work.store.stored() == {"checkpoint_index": 1}


async def test_step_before_a_saver_is_not_done(tmp_path: Path) -> None:
    """A step that ended while a cancellation waited is not done before its saver was called."""
    work = Work(AnyStore.at(tmp_path, "file"), "step b")
    cp = work.store.empty_flow()
    cp.add_step(name="a")(lambda state: None)
    save = work._part("save b")  # noqa: SLF001
    cp.add_step(name="b", save=save)(work._part("step b"))  # noqa: SLF001
    error = await work.cancelled(cp)
    assert "'b', was cancelled in its part 'step'" in notes_of(error)
    assert work.calls == ["step b"]
    assert work.store.stored() == {"checkpoint_index": 1}


async def test_snapshot_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that a cancelled run waited for is not stored a second time."""
    begun, let_go = threading.Event(), threading.Event()
    stored, replace = list[tuple[int, str]](), LocalStateHandler.replace

    def held(handler: LocalStateHandler, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        result = replace(handler, *args, **options)
        header = handler.header()
        assert header is not None
        stored.append((header.position, header.status))
        if header.position == 1 and not begun.is_set():
            begun.set()
            assert let_go.wait(PATIENCE)
        return result

    monkeypatch.setattr(LocalStateHandler, "replace", held)
    cp = CheckpointFlow(tmp_path / "c.pkl")
    for name in "ab":
        cp.add_step(name=name)(lambda state: None)
    run = asyncio.create_task(cp.arun({}))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    run.cancel()
    await asyncio.sleep(0)
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert stored == [(0, "running"), (1, "running"), (1, "cancelled")]


def test_interrupted_process(tmp_path: Path) -> None:
    """Ctrl-C under `asyncio.run` waits for the sync step, whose work is not repeated."""
    words = [sys.executable, str(program("interrupted_step_script.py")), str(tmp_path)]
    first = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdin is not None
    assert first.stdout is not None
    assert first.stdout.readline() == "work\n"
    first.send_signal(signal.SIGINT)
    assert first.stdout.readline() == "interrupted\n"
    out, _ = first.communicate("\n")
    assert out.splitlines() == ["cancelled"]
    second = subprocess.run(words, input="\n", stdout=subprocess.PIPE, text=True, check=True)
    assert second.stdout.splitlines() == ["{'work': 1, 'report': 1}"]
