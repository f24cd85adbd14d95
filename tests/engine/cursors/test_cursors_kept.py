"""The cursor of a step reaches its next attempt: the last one, however the attempt has ended."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cursor_flows import PLACES, CursorStore
from support import no_more_threads

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    Pause,
    RunTerminatedError,
    Terminate,
    current_step,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support import State


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CursorStore:
    """A store of each kind."""
    return CursorStore(tmp_path, request.param)


def page(number: int) -> None:
    """Report a page of the step in progress."""
    current_step().progress(number, 9, "pages", cursor={"page": number})


def pages_then(error: BaseException) -> Any:  # noqa: ANN401 - a step
    """Make the work of a step that reports three pages and breaks."""

    def work(state: State) -> None:
        for number in (1, 2, 3):
            page(number)
        raise error

    return work


LAST = {"page": 3}


def test_failure_keeps_the_last_cursor(store: CursorStore) -> None:
    """A run that failed goes on at the last page, in a process of its own."""
    with pytest.raises(ValueError, match="own"):
        store.flow(pages_then(ValueError("own"))).run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, LAST]
    assert store.record() is None


def test_an_attempt_without_news_keeps_it(store: CursorStore) -> None:
    """An attempt that breaks before it reports anything loses nothing."""
    for work in (pages_then(ValueError()), _broken, _broken):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            store.flow(work).run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, LAST, LAST, LAST]


def test_progress_without_a_cursor_leaves_it(store: CursorStore) -> None:
    """Progress that brings no cursor changes none, and alone stores nothing."""

    def work(state: State) -> None:
        page(1)
        current_step().progress(2)
        raise ValueError

    def without(state: State) -> None:
        current_step().progress(5, 9)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(without).run({}, run_id=store.run_id)
    assert store.record() is None
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text
            store.flow(work).run(run_id=store.run_id)
    assert store.seen == [None, None, {"page": 1}]


def test_retries_have_the_last_cursor(store: CursorStore) -> None:
    """The attempts of one run hand it on, and the store has it behind each of them."""
    stored: list[bool] = []

    def work(state: State) -> None:
        stored.append(b'"page":' in (store.record() or b""))
        page(current_step().attempt)
        if current_step().attempt < 3:
            raise TimeoutError

    store.flow(work, step={"retry": 3}).run({}, run_id=store.run_id)
    assert store.seen == [None, {"page": 1}, {"page": 2}]
    assert stored == [False, True, True]
    assert store.record() is None


def test_pause_keeps_it(store: CursorStore) -> None:
    """A paused step goes on at its cursor when it is answered."""
    paused = store.flow(pages_then(Pause("may I?"))).run({}, run_id=store.run_id)
    assert paused == {}
    store.flow(lambda state: None).resume(store.run_id, update={"yes": True})
    assert store.seen == [None, LAST]


def test_cancellation_keeps_it(store: CursorStore) -> None:
    """A cancelled coroutine step goes on at its last cursor."""

    async def main() -> None:
        reached = asyncio.Event()

        async def work() -> None:
            page(1)
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                page(3)

        task = asyncio.create_task(store.flow(lambda state: work()).arun({}, run_id=store.run_id))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.flow(lambda state: None).arun(run_id=store.run_id)

    asyncio.run(main())
    assert store.seen == [None, LAST]


def test_interrupt_keeps_it(store: CursorStore) -> None:
    """Ctrl-C in a notebook leaves the last cursor."""
    with pytest.raises(KeyboardInterrupt):
        store.flow(pages_then(KeyboardInterrupt())).run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, LAST]


def test_drain_keeps_it(store: CursorStore) -> None:
    """A drain in the midst of attempts leaves the last cursor to the next process."""

    def work(state: State) -> None:
        page(3)
        assert len(cp.drain(0)) == 1
        raise TimeoutError

    cp = store.flow(work, step={"retry": 3})
    with pytest.raises(DrainingError):
        cp.run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, LAST]


def test_drain_of_an_inner_flow_keeps_it(store: CursorStore, tmp_path: Path) -> None:
    """A step that ends because a flow inside it is drained leaves its cursor as well."""
    inner = CheckpointFlow(tmp_path / "inner.pkl")
    inner.add_step(name="never")(lambda state: None)

    def work(state: State) -> None:
        page(3)
        inner.drain()
        inner.run({})

    with pytest.raises(DrainingError):
        store.flow(work).run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, LAST]


def test_terminated_and_requeued_runs_keep_it(store: CursorStore) -> None:
    """A run that its step has terminated goes on at the cursor when it is queued again."""
    if store.run_id is None:
        pytest.skip("a run without an id is not queued")
    with pytest.raises(RunTerminatedError):
        store.flow(pages_then(Terminate("no"))).run({}, run_id=store.run_id)
    cp = store.flow(lambda state: None)
    cp.requeue(store.run_id)
    cp.resume(store.run_id)
    assert store.seen == [None, LAST]


def test_an_unstorable_state_keeps_it(store: CursorStore) -> None:
    """A step whose snapshot fails is attempted again, at its last cursor."""

    def work(state: State) -> None:
        page(3)
        state["lock"] = threading.Lock()

    for _ in range(2):
        with pytest.raises(TypeError, match="lock"):
            store.flow(work).run({}, run_id=store.run_id)
    assert store.seen == [None, LAST]


def test_a_cancellation_behind_the_step_leaves_nothing(store: CursorStore) -> None:
    """A step that is done has no cursor any more, though its run is cancelled behind it."""

    async def main() -> None:
        def work(state: State) -> None:
            page(3)
            loop.call_soon_threadsafe(task.cancel)

        loop = asyncio.get_running_loop()
        task = asyncio.create_task(store.flow(work).arun({}, run_id=store.run_id))
        with pytest.raises(asyncio.CancelledError):
            await task
        header = await store.flow(work).aheader(store.run_id)
        assert header is not None
        assert header.next_step == "tell"

    asyncio.run(main())
    assert store.record() is None


def test_any_thread_and_part_may_report(store: CursorStore) -> None:
    """Loader, saver and threads of a step share its cursor."""
    cp = store.bare_flow()
    trail: list[object] = []

    def load(state: State) -> State:
        trail.append(current_step().cursor)
        page(1)
        return {}

    def work(state: State, data: State) -> None:
        step = current_step()
        thread = threading.Thread(target=lambda: step.progress(2, cursor={"page": 2}))
        thread.start()
        thread.join()
        trail.append(current_step().cursor)

    def save(state: State, data: State) -> None:
        trail.append(current_step().cursor)
        page(3)
        raise OSError("full")

    cp.add_step(name="pages", load=load, save=save)(work)
    given: list[State | None] = [{}, None]
    for state in given:
        with pytest.raises(OSError, match="full"):
            cp.run(state, run_id=store.run_id)
    assert trail == [None, {"page": 2}, {"page": 2}, LAST, {"page": 2}, {"page": 2}]


def test_no_copy_of_a_step_reports(store: CursorStore) -> None:
    """Neither an ended step nor a pickled one changes what the next attempt is given."""
    kept: list[Any] = []

    def work(state: State) -> None:
        page(1)
        kept.extend((current_step(), pickle.loads(pickle.dumps(current_step()))))
        kept[1].progress(2, cursor={"page": 2})
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(work).run({}, run_id=store.run_id)
    kept[0].progress(4, cursor={"page": 4})
    assert kept[0].cursor is None
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, {"page": 1}]


def test_a_cursor_is_of_its_own_dict(store: CursorStore) -> None:
    """What a step does to the dicts afterwards changes no cursor."""
    given: State = {"keys": ["a"]}

    def work(state: State) -> None:
        current_step().progress(1, cursor=given)
        given["keys"].append("b")
        (current_step().cursor or {}).clear()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        store.flow(work).run({}, run_id=store.run_id)
    store.flow(lambda state: None).run(run_id=store.run_id)
    assert store.seen == [None, {"keys": ["a"]}]


def test_runs_side_by_side_keep_their_own(tmp_path: Path) -> None:
    """Many runs of one database fail at once, and each goes on at its own cursor."""
    store = CursorStore(tmp_path, "signed database")
    seen: dict[str | None, State | None] = {}

    async def work(state: State) -> None:
        step = current_step()
        seen[step.run_id] = step.cursor
        step.progress(state["n"], cursor={"page": state["n"]})
        await asyncio.sleep(0)
        raise ValueError

    async def main() -> None:
        cp = store.bare_flow()
        cp.add_step(name="pages")(work)
        calls = (cp.arun({"n": n}, run_id=f"r{n}") for n in range(50))
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in errors)
        seen.clear()
        calls = (cp.aresume(f"r{n}") for n in range(50))
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(main())
    assert seen == {f"r{n}": {"page": n} for n in range(50)}


def test_a_handler_of_dicts_has_it_for_the_attempts_of_a_call() -> None:
    """A dict has no room for it, so that it lives as long as the call."""
    seen: list[State | None] = []

    class Dicts:
        def __init__(self, path: object) -> None:
            self.state: State = {}

        def read(self) -> State:
            return copy.deepcopy(self.state)

        def write(self, state: State) -> None:
            self.state = copy.deepcopy(state)

    cp = CheckpointFlow("x", handler=Dicts)

    @cp.add_step(retry=3)
    def pages(state: State) -> None:
        seen.append(current_step().cursor)
        page(current_step().attempt)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        cp.run({})
    assert seen == [None, {"page": 1}, {"page": 2}]


def test_no_thread_is_needed(tmp_path: Path) -> None:
    """Where no thread can be started, the cursor is stored with the failure all the same."""
    store = CursorStore(tmp_path, "file")
    with no_more_threads(), pytest.raises(ValueError, match="own"):
        store.flow(pages_then(ValueError("own"))).run({})
    store.flow(lambda state: None).run()
    assert store.seen == [None, LAST]


def _broken(state: State) -> None:
    raise ValueError
