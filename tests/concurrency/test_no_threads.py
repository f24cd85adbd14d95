"""Where no thread can be started any more, nothing that was refused is done later."""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support import no_more_threads

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread

if TYPE_CHECKING:
    from support import FlowFactory, State

PATIENCE = 20.0
POOL_SIZE = 4


class Pool:
    """The pool of snapshots, emptied, with so many of its threads held up by other work."""

    def __init__(self, active_run: int) -> None:
        """Hold up that many threads, all that there are then."""
        SNAPSHOTS.reset_after_fork()
        self._gate = threading.Event()
        entered = [threading.Event() for _ in range(active_run)]
        self._jobs = [SNAPSHOTS.submit(self._wait, one) for one in entered]
        for one in entered:
            assert one.wait(PATIENCE)

    def _wait(self, entered: threading.Event) -> None:
        entered.set()
        self._gate.wait(PATIENCE)

    def free(self) -> None:
        """Let the work end, and all that is queued behind it."""
        self._gate.set()
        for job in self._jobs:
            job.result()
        SNAPSHOTS.submit(int).result()


@pytest.mark.parametrize("active_run", [1, POOL_SIZE - 1])
def test_refused_write_is_never_done(active_run: int, flows: FlowFactory) -> None:
    """A write that was refused for want of a thread does not come after a later one."""

    async def main() -> None:
        pool, handler = Pool(active_run), LocalStateHandler(flows.path, fsync=False)
        with no_more_threads(), pytest.raises(RuntimeError, match="thread"):
            await handler.awrite({"n": 1})
        handler.write({"n": 2})
        pool.free()
        assert handler.read()["n"] == 2

    asyncio.run(main())


def test_failure_is_recorded_and_the_lock_given_back(flows: FlowFactory) -> None:
    """A step's own exception comes out, is recorded, and the place is free."""

    async def main() -> None:
        cp = CheckpointFlow(flows.path, fsync=False)
        with contextlib.ExitStack() as stack:

            @cp.add_step()
            async def a(state: State) -> None:
                stack.callback(Pool(POOL_SIZE - 1).free)
                stack.enter_context(no_more_threads())
                raise ValueError("the step's own")

            with pytest.raises(ValueError, match="own") as info:
                await cp.arun({})
        assert info.value.__context__ is None
        assert len(info.value.__notes__) == 1

    asyncio.run(main())
    failure = flows.header().failure
    assert failure is not None
    assert failure.step == "a"
    flows.flow("a").reset()


def test_exception_of_a_signal_waits_for_the_thread() -> None:
    """What strikes the coroutine that waits for a thread comes out when the thread is done."""
    done = list[str]()
    begun, gate = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(PATIENCE)
        done.append("work")

    def interrupt(frame: Any, event: str, arg: object) -> Any:  # noqa: ANN401
        """Stand for the handler of a signal, where the thread is waited for."""
        if frame.f_code.co_name != "wait_for_item":
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "await" in line:
            assert begun.wait(PATIENCE)
            timer.start()
            raise KeyboardInterrupt
        return interrupt

    async def main() -> None:
        before = sys.gettrace()  # that of a measurement of coverage, for one
        sys.settrace(interrupt)
        try:
            await run_in_thread(SNAPSHOTS, work)
        finally:
            sys.settrace(before)
            done.append("out")

    timer = threading.Timer(0.05, gate.set)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    timer.join()
    assert done == ["work", "out"]
