"""Threads that end by an error of their own: their callers get it, and the next call a new thread.

The errors come at every instruction in turn, as a want of memory may. In real processes, a limit of
address space lets threads begin that have no memory for their first line.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from locations import program
from plain_loops import until

from aiocheckpoint import NoThreadError
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.threads import run_in_thread, run_shielded_in_thread
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._concurrency.workers import _Start

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future
    from types import FrameType

PATIENCE = 20.0
MANY = 2000
FILES = ("/daemon_threads.py", "/workers.py", "/work_items.py", "/pending_results.py")

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
OUTCOMES = {"call": {"refused", "done"}, "digest": {"done"}}


@dataclass
class Fault:
    """Raises MemoryError in one new thread, at the n-th instruction of the library there.

    Attributes:
        left: The n.
        place: The name of the function where it was raised, empty before.
    """

    left: int
    place: str = ""
    _ident: int = 0

    def enter(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        """Look at the functions of the first thread that comes here."""
        self._ident = self._ident or threading.get_ident()
        known = frame.f_code.co_filename.endswith(FILES)
        if self._ident != threading.get_ident() or not known or self.place:
            return None
        frame.f_trace_opcodes = True
        return self._look

    def _look(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        # Pythons 3.12 and 3.13 do not give each event of an opcode.
        if event in {"line", "opcode"} and not self.place:
            self.left -= 1
            if not self.left:
                self.place = frame.f_code.co_qualname
                raise MemoryError(self.place)
        return self._look


@dataclass
class Calls:
    """Calls of every kind, for one thread.

    Attributes:
        log: The names of the calls that were made.
    """

    threads: DaemonThreads
    log: Counter[str] = field(default_factory=Counter)

    def work(self, name: str) -> str:
        """Be called."""
        self.log[name] += 1
        return name

    def submit(self) -> Future[str]:
        """Submit a call."""
        return self.threads.submit(self.work, "submitted")

    def put(self) -> WorkItem[str]:
        """Queue a call for a thread that blocks."""
        item = WorkItem[str](self.work, ("blocking",), None)
        self.threads.put(item)
        return item


async def outcome_of(making: Coroutine[Any, Any, object]) -> object:
    """Give the result of a call, or the error of a thread that has ended."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await making
        except (NoThreadError, MemoryError) as error:
            return error


async def import_backend() -> None:
    """Let anyio import what it needs under asyncio, which is not to happen while memory is out."""
    anyio.current_effective_deadline()


async def fail_once(fault: Fault, way: Callable[..., Coroutine[Any, Any, object]]) -> None:
    """Make some calls while the fault comes, and check that each has ended, and how."""
    threads = DaemonThreads("dying", 1)
    calls = Calls(threads)
    threading.settrace(fault.enter)
    try:
        awaited = asyncio.ensure_future(outcome_of(way(threads, calls.work, "awaited")))
        await asyncio.sleep(0)
        submitted, blocking = refused(calls.submit), refused(calls.put)
        outcomes = {"awaited": await awaited}
    finally:
        threading.settrace(None)
    if submitted is not None:
        outcomes["submitted"] = await outcome_of(asyncio.wrap_future(submitted))  # type: ignore[arg-type]
    if blocking is not None:
        await asyncio.wait_for(asyncio.to_thread(blocking.join), PATIENCE)
        outcomes["blocking"] = blocking.error or blocking.result
    before = Counter(calls.log)
    fault.left = 0  # From here on it comes no more.
    # A call that comes while the thread ends may fail with it.
    again = [await outcome_of(run_in_thread(threads, str, "again")) for _ in range(2)]
    assert again[1] == "again"
    threads.shutdown()
    assert calls.log == before, "a call was made late"
    for name, outcome in outcomes.items():
        check(name, outcome, calls.log[name], shielded=way is run_shielded_in_thread)


def refused(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Ask for a call, which may be refused."""
    with contextlib.suppress(NoThreadError):
        return ask()


def check(name: str, outcome: object, times: int, *, shielded: bool) -> None:
    """Check the outcome of a call that was made so many times."""
    if shielded and name == "awaited":
        assert times >= 1 or isinstance(outcome, MemoryError)
    elif isinstance(outcome, NoThreadError):
        assert times <= 1
        cause = outcome.__cause__
        assert cause is None or isinstance(cause, (MemoryError, RuntimeError))
    else:
        assert (outcome, times) == (name, 1) or isinstance(outcome, MemoryError)


def faults() -> Iterator[Fault]:
    """Give a fault at each point in turn, until one comes too late."""
    for number in range(1, MANY):
        fault = Fault(number)
        yield fault
        if not fault.place:
            return
    pytest.fail("the faults do not end")


@pytest.mark.parametrize("way", [run_in_thread, run_shielded_in_thread])
def test_memory_is_out_at_every_instruction(
    way: Callable[..., Coroutine[Any, Any, object]],
) -> None:
    """Wherever a thread ends, all calls have a result or an error of ours, and none comes late."""
    places = set[str]()
    asyncio.run(import_backend())
    for fault in faults():
        asyncio.run(fail_once(fault, way))
        places.add(fault.place)
    assert places >= {"DaemonThreads._work", "WorkItem.call", "WorkItem.deliver", "Worker.run"}


async def test_cause_is_the_error_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call, and those that wait behind it, fail with the thread's own error as their cause."""
    threads = DaemonThreads("dying", 1)
    gate, error = threading.Event(), OSError("the thread's own")

    def broken(item: WorkItem[Any]) -> None:
        gate.wait(PATIENCE)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(WorkItem, "call", broken)
        tasks = [asyncio.ensure_future(run_in_thread(threads, int)) for _ in range(3)]
        await asyncio.sleep(0.01)
        gate.set()
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [NoThreadError] * 3
    assert len({id(one) for one in found}) == 3
    assert [getattr(one, "__cause__", None) for one in found] == [error] * 3
    assert await run_in_thread(threads, int) == 0
    threads.shutdown()


async def test_result_that_is_not_delivered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that cannot wake the loop, for want of memory, tries again."""
    threads, loop, tries = DaemonThreads("dying", 1), asyncio.get_running_loop(), list[object]()
    wake = loop.call_soon_threadsafe

    def deny(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        tries.append(args)
        if len(tries) < 3:
            raise MemoryError
        return wake(*args, **kwargs)

    monkeypatch.setattr(loop, "call_soon_threadsafe", deny)
    async with asyncio.timeout(PATIENCE):
        assert await run_in_thread(threads, int, "7") == 7
    assert len(tries) == 3


async def test_ident_that_was_given_anew() -> None:
    """The call of a thread that has got the ident of one that has ended goes on."""
    threads, begun, gate = DaemonThreads("dying", 2), threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert gate.wait(PATIENCE)
        return 7

    submitted = threads.submit(work)
    assert begun.wait(PATIENCE)
    (living,) = threads._living.values()  # noqa: SLF001
    item = WorkItem[int](int, (), None)
    ended = SimpleNamespace(
        orderly=False, life=None, item=item, error=OSError("its own"), ident=living.ident
    )
    threads._end(cast("Any", ended))  # noqa: SLF001
    assert isinstance(item.error, NoThreadError)
    assert not submitted.done()
    gate.set()
    assert submitted.result(PATIENCE) == 7
    threads.shutdown()


@pytest.mark.parametrize("is_delivered", [True, False])
async def test_end_before_its_starter_goes_on(
    monkeypatch: pytest.MonkeyPatch, *, is_delivered: bool
) -> None:
    """A thread may end by an error before the one that starts it has a core again."""
    threads, loop, tries = DaemonThreads("dying", 1), asyncio.get_running_loop(), list[object]()
    wake, wait = loop.call_soon_threadsafe, _Start.wait

    def fail_once(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        tries.append(args)
        if len(tries) == 1:
            raise MemoryError
        return wake(*args, **kwargs)

    def wait_for_the_end(start: _Start, timeout: float | None = None) -> bool:
        until(lambda: start.is_set() and not start._worker.is_alive())  # noqa: SLF001
        return wait(start, timeout)

    monkeypatch.setattr(_Start, "wait", wait_for_the_end)
    if is_delivered:
        monkeypatch.setattr(loop, "call_soon_threadsafe", fail_once)
    else:
        monkeypatch.setattr(WorkItem, "call", fail_once)
    async with asyncio.timeout(PATIENCE):
        made = run_in_thread(threads, int, "7")
        if is_delivered:
            assert await made == 7
        else:
            with pytest.raises(NoThreadError):
                await made


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for its address space")
@pytest.mark.parametrize("what", OUTCOMES)
def test_no_memory_for_the_first_line(what: str) -> None:
    """A thread that begins and has no memory to live counts as refused, and nobody waits for it."""
    command = [sys.executable, str(program("address_space_script.py")), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert set(done.stdout.split()) == OUTCOMES[what], done.stderr
