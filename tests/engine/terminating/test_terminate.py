"""`terminate` ends a run for good, wherever in this process it is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, resume_all
from terminated_runs import (
    PATIENCE,
    REASON,
    Held,
    assert_clean,
    assert_no_scraps,
    assert_terminated,
    given,
    held_flow,
)

from aiocheckpoint import CheckpointFlow, Pause, Retry, RunTerminatedError
from aiocheckpoint.events import RunFinished, RunTerminated, StepFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from support import Runner, State


def fails(state: State) -> None:
    """Change the state, and break."""
    state["trail"].append("changed")
    raise ConnectionError("down")


def pauses(state: State) -> None:
    """Change the state, and pause."""
    state["trail"].append("changed")
    raise Pause("approval")


def works(state: State) -> None:
    """Do its work."""
    state["trail"].append("worked")


@pytest.mark.parametrize("how", ["failed", "paused", "stopped"])
def test_run_that_nobody_carries(runs: Runs, runner: Runner, how: str, tmp_path: Path) -> None:
    """Its header alone is changed, it stays terminated, and `checkpoint=` goes on with it."""
    cp = runs.empty_flow()
    steps = {"failed": fails, "paused": pauses, "stopped": works}
    cp.add_step(name="first")(lambda state: state["trail"].append("first"))
    cp.add_step(name="second", replace=True)(steps[how])
    with contextlib.suppress(ConnectionError):
        cp.run(given(), run_id="x", until="first" if how == "stopped" else None)
    before = cp.header("x")
    assert before is not None
    assert before.status == how
    header = runner.do(cp, "terminate", "x", REASON)
    assert header == cp.header("x")
    assert assert_terminated(cp, 1, ["first"]) == header
    assert (header.failure, header.pause) == (before.failure, before.pause)
    assert resume_all(cp) == {}
    assert runner.do(cp, "terminate", "x", "another reason", wait=5) == header
    cp.add_step(name="second", replace=True)(works)
    assert runner(cp, run_id="x", checkpoint=1) == {"trail": ["first", "worked"]}
    assert cp.header("x").status == "finished"  # type: ignore[union-attr]
    assert_no_scraps(tmp_path)


def test_run_without_an_id(runs: Runs) -> None:
    """The run without an id is terminated as any other."""
    cp = runs.empty_flow()
    cp.add_step()(fails)
    with pytest.raises(ConnectionError):
        cp.run(given())
    header = cp.terminate(None)
    assert header is not None
    assert (header.status, header.termination) == ("terminated", "")
    with pytest.raises(RunTerminatedError):
        cp.run()


def test_coroutine_on_the_same_loop(runs: Runs, tmp_path: Path) -> None:
    """Its task is interrupted at once, gets the error, and is not cancelled itself."""
    cp, held = held_flow(runs)

    async def carry() -> str:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(RunTerminatedError) as info:
            await cp.arun(given(), run_id="x")
        assert (info.value.by, info.value.reason, task.cancelling()) == ("hand", REASON, 0)
        assert info.value.__cause__ is None
        await asyncio.sleep(0)
        return "went on"

    async def main() -> None:
        task = asyncio.create_task(carry())
        await held.aentered()
        assert await cp.aterminate("x", REASON) is None
        assert await asyncio.wait_for(task, PATIENCE) == "went on"

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])
    kinds = [type(event) for event in runs.events]
    assert StepFailed not in kinds
    assert RunFinished not in kinds
    (event,) = [event for event in runs.events if isinstance(event, RunTerminated)]
    assert (event.step, event.reason, event.by) == ("second", REASON, "hand")
    assert_no_scraps(tmp_path)


def test_wait_for_the_end(runs: Runs) -> None:
    """With `wait=` the header of the ended run is given, also where it finishes by itself."""
    cp, held = held_flow(runs)

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        header = await cp.aterminate("x", REASON, wait=PATIENCE)
        assert header is not None
        assert (header.status, header.owner) == ("terminated", None)
        with pytest.raises(RunTerminatedError):
            await task

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("until", [False, True])
def test_sync_step_ends_behind_itself(
    runs: Runs, tmp_path: Path, *, is_last: bool, until: bool
) -> None:
    """A step in a thread is not broken off. Its snapshot is stored, and behind the last it is over.

    The call that waits for too short a time gives None.
    """
    cp, held = runs.empty_flow(hooks=[runs.events.append]), Held()

    @cp.add_step()
    def first(state: State) -> None:
        held.hold()
        state["trail"].append("first")

    if not is_last:
        cp.add_step()(works)

    async def main() -> State:
        task = asyncio.create_task(cp.arun(given(), run_id="x", until="first" if until else None))
        await held.aentered()
        assert await cp.aterminate("x", REASON, wait=0.1) is None
        assert not task.done()
        held.free.set()
        return await asyncio.wait_for(task, PATIENCE)

    if is_last:
        assert asyncio.run(main()) == {"trail": ["first"]}
        assert cp.header("x").status == "finished"  # type: ignore[union-attr]
        assert_clean(cp)
    else:
        with pytest.raises(RunTerminatedError) as info:
            asyncio.run(main())
        assert getattr(info.value, "__notes__", []) == []  # It was stored with the first write.
        assert_terminated(cp, 1, ["first"])
    assert_no_scraps(tmp_path)


@pytest.mark.parametrize("part", ["load", "save", "retry", "limiter"])
def test_every_part_of_a_step(runs: Runs, part: str, tmp_path: Path) -> None:
    """Loaders, savers, the wait between two attempts and that for a limiter end at once."""
    cp, held = runs.empty_flow(), Held()

    async def load(_state: State) -> State:
        await held.ahold()
        return {}

    async def save(_state: State, _data: State) -> None:
        await held.ahold()

    def breaks(state: State) -> None:
        held.entered.set()
        state["trail"].append("broken")
        raise ConnectionError("down")

    @contextlib.asynccontextmanager
    async def limiter(_state: State) -> AsyncGenerator[None]:
        await held.ahold()
        yield

    cp.add_step(name="first")(lambda state: state["trail"].append("first"))
    retry = Retry(on=ConnectionError, attempts=2, wait_initial=PATIENCE, wait_max=PATIENCE)
    options: dict[str, dict[str, Any]] = {
        "load": {"load": load},
        "save": {"save": save},
        "retry": {"retry": retry},
        "limiter": {"limiter": limiter},
    }
    cp.add_step(name="second", **options[part])(breaks if part == "retry" else works)

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), "always", run_id="x"))
        await held.aentered()
        await cp.aterminate("x", REASON)
        with pytest.raises(RunTerminatedError):
            await asyncio.wait_for(task, PATIENCE / 2)

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])
    assert_no_scraps(tmp_path)


def carried(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Call a function in another thread, and keep the exception that it raises."""
    errors: list[BaseException] = []

    def carry() -> None:
        try:
            call()
        except RunTerminatedError as error:
            errors.append(error)

    thread = threading.Thread(target=carry)
    thread.start()
    return thread, errors


def on_another_loop(cp: CheckpointFlow) -> object:
    """Run it by `arun` on a loop of its own."""
    return asyncio.run(cp.arun(given(), run_id="x"))


def by_run(cp: CheckpointFlow) -> object:
    """Run it by `run`."""
    return cp.run(given(), run_id="x")


def in_a_notebook(cp: CheckpointFlow) -> object:
    """Run it by `run` where a loop runs."""

    async def notebook() -> object:
        return cp.run(given(), run_id="x")

    return asyncio.run(notebook())


@pytest.mark.parametrize("call", [on_another_loop, by_run, in_a_notebook])
def test_coroutine_of_another_thread(
    runs: Runs, runner: Runner, call: Callable[[CheckpointFlow], object], tmp_path: Path
) -> None:
    """A coroutine step is interrupted at once, on whatever loop, by another flow object as well."""
    cp, held = held_flow(runs)
    other, _ = held_flow(runs)
    thread, errors = carried(lambda: call(cp))
    assert held.entered.wait(PATIENCE)
    header = runner.do(other, "terminate", "x", REASON, wait=PATIENCE)
    assert header.status == "terminated"
    thread.join(PATIENCE)
    assert len(errors) == 1
    assert_terminated(cp, 1, ["first"])
    assert_no_scraps(tmp_path)


@pytest.mark.parametrize("sleeps", [False, True])
def test_sync_step_of_another_thread(runs: Runs, tmp_path: Path, *, sleeps: bool) -> None:
    """Under `run`, a sync step ends behind itself, and a wait between two attempts at once."""
    cp, held = runs.empty_flow(), Held()

    @cp.add_step(retry=Retry(on=OSError, attempts=2, wait_initial=PATIENCE, wait_max=PATIENCE))
    def first(state: State) -> None:
        state["trail"].append("first")
        if sleeps:
            held.entered.set()
            raise OSError("down")
        held.hold()

    cp.add_step()(works)
    thread, errors = carried(lambda: cp.run(given(), run_id="x"))
    assert held.entered.wait(PATIENCE)
    cp.terminate("x", REASON)
    held.free.set()
    thread.join(PATIENCE / 2)
    assert len(errors) == 1
    assert_terminated(cp, 0 if sleeps else 1, [] if sleeps else ["first"])
    assert_no_scraps(tmp_path)


def test_step_ends_its_own_run(runs: Runs, runner: Runner) -> None:
    """A step may terminate its own run, which ends behind it."""
    cp = runs.empty_flow()

    @cp.add_step()
    def first(state: State) -> None:
        assert cp.terminate("x", REASON) is None
        state["trail"].append("first")

    cp.add_step()(works)
    with pytest.raises(RunTerminatedError):
        runner(cp, given(), run_id="x")
    assert_terminated(cp, 1, ["first"])


def test_loader_ends_its_own_run(
    durable_runs: Runs, any_runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine that would begin behind the request does nothing that lasts."""
    cp = durable_runs.empty_flow()
    monkeypatch.setattr(cp.handler, "endings", lambda _: {})  # A look would end it later.

    def load(_state: State) -> State:
        cp.terminate("x", REASON)
        return {}

    @cp.add_step(load=load)
    async def first(state: State) -> None:
        await asyncio.sleep(PATIENCE)
        state["trail"].append("first")

    with pytest.raises(RunTerminatedError):
        any_runner(cp, given(), run_id="x")
    assert_terminated(cp, 0, [])


def test_one_of_many(runs: Runs) -> None:
    """Of runs side by side only the one is ended, and its result says so."""
    cp, entered = runs.empty_flow(), asyncio.Barrier(4)

    @cp.add_step()
    async def first(state: State) -> None:
        if entered.n_waiting < entered.parties and not entered.broken:
            await entered.wait()
        if state["trail"]:
            await asyncio.sleep(PATIENCE)

    async def main() -> None:
        pairs = {"x": {"trail": ["x"]}, "y": given(), "z": given()}
        results: asyncio.Task[Any] = asyncio.ensure_future(collect(pairs))
        await entered.wait()
        await cp.aterminate("x", REASON)
        by_id = {result.run_id: result for result in await results}
        assert isinstance(by_id["x"].error, RunTerminatedError)
        assert (by_id["y"].error, by_id["z"].error) == (None, None)

    async def collect(pairs: dict[str, State]) -> Any:  # noqa: ANN401
        return await cp.amap(pairs)

    asyncio.run(main())
    assert {header.run_id: header.status for header in cp.runs()} == {
        "x": "terminated",
        "y": "finished",
        "z": "finished",
    }
