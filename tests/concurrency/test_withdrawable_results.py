"""A request is either sent or withdrawn, and a cancelled caller does not wait for one unsent."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aiocheckpoint._concurrency import giving_up
from aiocheckpoint._concurrency.backends import AsyncBackend, SyncBackend, run_to_completion
from aiocheckpoint._concurrency.executors import AsyncExecutor
from aiocheckpoint._concurrency.giving_up import Answers, giving_up_after
from aiocheckpoint._concurrency.pending_results import PendingResult, deliver
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import make_store_threads
from aiocheckpoint._concurrency.withdrawable_results import WithdrawableResult

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SOON = 0.1
LIMIT = 30.0
"""Seconds. A bound against hanging."""


@pytest.fixture(autouse=True)
def soon_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store count as stalled after a shorter time."""
    monkeypatch.setattr(giving_up, "_STALL_SECONDS", 2 * SOON)


def request(loop: asyncio.AbstractEventLoop | None = None) -> WithdrawableResult[int]:
    """Make a request that nobody carries out."""
    return WithdrawableResult("request", loop)


def backend(answers: Answers) -> AsyncBackend:
    """Make a backend whose store answers as counted."""
    return AsyncBackend(AsyncExecutor(StepThreads(1), make_store_threads(answers)))


def test_the_first_of_both_counts() -> None:
    """Of a thread that takes requests and one that withdraws them, each request knows one."""
    requests = [request() for _ in range(5000)]
    gathered, before = threading.Barrier(2), sys.getswitchinterval()

    def take(one: WithdrawableResult[int]) -> bool:
        return one.take()

    def withdraw(one: WithdrawableResult[int]) -> bool:
        return one.withdraw()

    def each(do: Callable[[WithdrawableResult[int]], bool], *, ends_first: bool) -> list[bool]:
        gathered.wait()
        done = [do(one) for one in requests[:: -1 if ends_first else 1]]
        return done[:: -1 if ends_first else 1]

    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(each, take, ends_first=False)
        withdrawn = pool.submit(each, withdraw, ends_first=True)
        pairs = list(zip(taken.result(), withdrawn.result(), strict=True))
    sys.setswitchinterval(before)
    assert all(sent != gone for sent, gone in pairs)


def test_a_withdrawn_request_is_not_taken() -> None:
    """The thread that carries out requests is told, and the request has ended with an error."""
    one = request()
    assert one.withdraw()
    assert not one.take()
    assert isinstance(one.error, StalledError)


def test_a_request_that_may_have_been_sent_is_not_withdrawn() -> None:
    """A request in doubt is taken again, also where its caller has asked for it back."""
    one = request()
    assert one.take()
    assert not one.withdraw()
    assert not one.drop_if_unwanted()
    assert one.take()
    assert one.error is None


def test_a_request_that_is_given_back_is_dropped() -> None:
    """Of two cancelled callers the one that came too early is noticed when it is given back."""
    early, none = request(), request()
    for one in (early, none):
        one.take()
    assert not early.withdraw()
    for one in (early, none):
        one.give_back()
    assert early.drop_if_unwanted()
    assert isinstance(early.error, StalledError)
    assert not none.drop_if_unwanted()
    assert none.take()


def test_a_withdrawn_request_is_never_given_back() -> None:
    """`give_back` makes no request of one that was withdrawn."""
    one = request()
    assert one.withdraw()
    one.give_back()
    assert not one.take()


def test_other_requests_are_always_taken() -> None:
    """A request to a store on this machine is neither withdrawn nor dropped."""
    one: PendingResult[int] = PendingResult("request", None)
    assert not one.withdraw()
    assert one.take()
    one.give_back()
    assert not one.drop_if_unwanted()


async def cancelled(work: Coroutine[Any, Any, int], way: str) -> None:
    """Cancel work in a way, and wait until it has ended."""
    task = asyncio.create_task(work)
    if way == "timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON):
                await task
    else:
        await asyncio.sleep(SOON)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("way", ["cancel", "timeout"])
async def test_unsent_request_of_a_cancelled_task(way: str) -> None:
    """A cancelled task does not wait for a store that does not answer, and nothing is sent."""
    async with asyncio.timeout(LIMIT):
        here = backend(Answers())
        one = request(here.loop)
        await cancelled(here.wait_for(one), way)
    assert not one.take()


async def test_unsent_request_in_a_cancelled_scope() -> None:
    """The same in a scope of anyio's."""
    here = backend(Answers())
    one = request(here.loop)
    with anyio.fail_after(LIMIT), anyio.move_on_after(SOON) as scope:
        await here.wait_for(one)
    assert scope.cancelled_caught
    assert not one.take()


async def test_sent_request_of_a_cancelled_task() -> None:
    """A request that was sent is waited for, and then the cancellation comes out."""
    here = backend(Answers())
    one = request(here.loop)
    assert one.take()
    task = asyncio.ensure_future(here.wait_for(one))
    await asyncio.sleep(0)
    task.cancel()
    assert not (await asyncio.wait([task], timeout=6 * SOON))[0]
    one.result = 1
    deliver([one])
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LIMIT)
    assert task.cancelled()


async def test_given_back_to_a_cancelled_task() -> None:
    """A cancelled task whose request was surely not sent ends when that is known."""
    here = backend(Answers())
    one = request(here.loop)
    assert one.take()
    task = asyncio.ensure_future(here.wait_for(one))
    await asyncio.sleep(0)
    task.cancel()
    assert not (await asyncio.wait([task], timeout=6 * SOON))[0]
    one.give_back()
    assert one.drop_if_unwanted()
    deliver([one])
    with pytest.raises(asyncio.CancelledError) as info:
        await asyncio.wait_for(task, LIMIT)
    assert info.value.__cause__ is None


async def test_a_store_that_answers_is_waited_for() -> None:
    """Where the store answers others, a cancelled task waits for its turn."""
    answers = Answers()
    here = backend(answers)
    one = request(here.loop)
    task = asyncio.ensure_future(here.wait_for(one))
    await asyncio.sleep(0)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(SOON)
        answers.count += 1
    assert one.take()
    deliver([one])
    await asyncio.wait([task], timeout=LIMIT)
    assert task.cancelled()


async def test_a_thousand_tasks_wait_together() -> None:
    """Many cancelled tasks find out once that the store does not answer, and not one by one."""
    here = backend(Answers())
    requests = [request(here.loop) for _ in range(1000)]
    tasks = [asyncio.ensure_future(here.wait_for(one)) for one in requests]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=LIMIT)
    assert len(done) == 1000
    assert not any(one.take() for one in requests)


async def test_a_call_in_a_thread_is_given_up() -> None:
    """A cancelled task lets its call in a thread end, which waits for a request."""
    here, one = backend(Answers()), request()
    task = asyncio.ensure_future(here.run(one.wait))
    await asyncio.sleep(SOON)
    task.cancel()
    await asyncio.wait([task], timeout=LIMIT)
    assert task.cancelled()
    assert not one.take()


async def test_a_sent_request_of_a_call_in_a_thread() -> None:
    """A call in a thread whose request was sent is waited for."""
    here, one = backend(Answers()), request()
    task = asyncio.ensure_future(here.run(one.wait))
    await asyncio.sleep(SOON)
    assert one.take()
    task.cancel()
    assert not (await asyncio.wait([task], timeout=6 * SOON))[0]
    deliver([one])
    await asyncio.wait([task], timeout=LIMIT)
    assert task.cancelled()


async def test_a_shielded_call_is_withdrawn() -> None:
    """A call that must end is withdrawn where the task is cancelled and the store stalled."""
    here, one = backend(Answers()), request()

    async def record() -> None:
        await here.run_shielded(one.wait, if_stalled="withdraw")

    task = asyncio.ensure_future(record())
    await asyncio.sleep(SOON)
    task.cancel()
    await asyncio.wait([task], timeout=LIMIT)
    error = task.exception()
    assert isinstance(error, StalledError)
    assert isinstance(error.cancellation, asyncio.CancelledError)
    assert not one.take()


async def test_a_shielded_call_of_a_task_that_goes_on() -> None:
    """Without a cancellation a call that must end waits, however long the store is away."""
    here, one = backend(Answers()), request()
    task = asyncio.ensure_future(here.run_shielded(one.wait, if_stalled="withdraw"))
    assert not (await asyncio.wait([task], timeout=6 * SOON))[0]
    assert one.take()
    deliver([one])
    assert await asyncio.wait_for(task, LIMIT) is None


def interrupt_soon(times: int = 1) -> threading.Thread:
    """Let the main thread get Ctrl-C soon, so many times."""

    def strike() -> None:
        for _ in range(times):
            threading.Event().wait(SOON)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=strike)
    thread.start()
    return thread


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_withdraws_what_was_not_sent(times: int) -> None:
    """Ctrl-C ends a wait for a request that was not sent, at once if it comes again."""
    one, striking = request(), interrupt_soon(times)
    with pytest.raises(KeyboardInterrupt):
        one.wait()
    striking.join()
    assert not one.take()


def test_ctrl_c_waits_for_what_was_sent() -> None:
    """Ctrl-C is raised behind the end of a request that was sent."""
    one, striking = request(), interrupt_soon()
    assert one.take()
    ended: list[float] = []

    def end() -> None:
        threading.Event().wait(6 * SOON)
        ended.append(1.0)
        deliver([one])

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(KeyboardInterrupt):
        one.wait()
    assert ended
    striking.join()
    ending.join()


def test_ctrl_c_lets_a_request_end_soon() -> None:
    """A request that is answered within the second is neither withdrawn nor lost."""
    one, striking = request(), interrupt_soon()

    def end() -> None:
        striking.join()
        assert one.take()
        deliver([one])

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(KeyboardInterrupt):
        one.wait()
    ending.join()
    assert one.ended


def test_an_interrupted_run_gives_up() -> None:
    """What a run does behind Ctrl-C ends soon, though the store does not answer."""
    here, requests = SyncBackend(), [request(), request()]

    def end_run() -> None:
        with pytest.raises(StalledError):
            run_to_completion(here.run_shielded(requests[0].wait, if_stalled="withdraw"))
        run_to_completion(here.run_shielded(requests[1].wait, if_stalled="leave"))

    striking = interrupt_soon()
    try:
        striking.join()
    except KeyboardInterrupt:
        end_run()
    assert not any(one.take() for one in requests)


def test_a_block_gives_up() -> None:
    """A wait in the block ends with it, and later waits are as before."""
    one, later = request(), request()
    with giving_up_after(SOON), pytest.raises(StalledError):
        one.wait()
    assert not one.take()
    threading.Timer(6 * SOON, deliver, [[later]]).start()
    later.result = 5
    assert later.wait() == 5
