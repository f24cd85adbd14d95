"""`limiter=` of a step: held for one attempt, outside of its time limits, ended by a drain."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio
import pytest
from support import Runner

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    FlowDefinitionError,
    InvalidTypeError,
    Pause,
    Retry,
    StepTimeoutError,
    Terminate,
    current_step,
)
from aiocheckpoint.testing import crash_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
    from pathlib import Path

    from support import State

    from aiocheckpoint.events import Event

PATIENCE = 20.0
AT_ONCE = Retry(attempts=2, wait_initial=0, wait_jitter=0)
VALUE = "a value of the state"


class Gauge:
    """Counts how many are inside at once.

    Attributes:
        inside: How many are inside now.
        most: How many there were at most.
    """

    def __init__(self) -> None:
        self.inside = self.most = 0

    def __enter__(self) -> None:
        """Come in."""
        self.inside += 1
        self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        """Go out."""
        self.inside -= 1


class Recorder(AbstractAsyncContextManager[None]):
    """A limiter that notes what is done with it, and fails on request.

    Attributes:
        log: "enter", and "exit" with the exception that it was given.
        faults: What to raise in "enter" and "exit".
        waits: Whether leaving it takes a moment.
        swallows: What `__aexit__` returns.
        leaving: Set when it is about to be left.
    """

    def __init__(self, **faults: BaseException) -> None:
        self.log: list[str] = []
        self.faults = faults
        self.waits = self.swallows = False
        self.leaving = asyncio.Event()

    async def __aenter__(self) -> None:
        """Note it."""
        await asyncio.sleep(0)
        if "enter" in self.faults:
            raise self.faults["enter"]
        self.log.append("enter")

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Note it."""
        if self.waits:
            self.leaving.set()
            await asyncio.sleep(PATIENCE if kind is None else 0)
        self.log.append("exit" if kind is None else f"exit {kind.__name__}")
        if "exit" in self.faults:
            raise self.faults["exit"]
        return self.swallows


def by_tenant() -> Callable[[State], asyncio.Semaphore]:
    """Give the function of a limiter of each tenant."""
    found: dict[str, asyncio.Semaphore] = {}
    return lambda state: found.setdefault(state["tenant"], asyncio.Semaphore(2))


@pytest.mark.parametrize(
    ("make", "most", "options"),
    [
        (lambda: asyncio.Semaphore(2), 2, {}),
        (lambda: anyio.CapacityLimiter(2), 2, {"around": [lambda part, event: None]}),
        (by_tenant, 4, {}),
    ],
    ids=["semaphore", "capacity limiter, around", "function"],
)
async def test_many_runs_wait_outside_of_their_time_limits(
    make: Callable[[], Any], most: int, options: dict[str, Any], tmp_path: Path
) -> None:
    """Runs that wait for longer than `timeout=` each have their first attempt alone."""
    gauge = Gauge()
    place = f"sqlite:///{tmp_path}/runs.db"
    cp: CheckpointFlow = CheckpointFlow(place, fsync=False, **options)

    @cp.add_step(limiter=make(), timeout=0.5, retry=Retry(on=StepTimeoutError, attempts=4))
    async def call(state: State) -> None:
        with gauge:
            await asyncio.sleep(0.1)
        state["attempt"] = current_step().attempt

    runs = {str(number): {"tenant": "ab"[number % 2]} for number in range(7 * most)}
    results = await cp.amap(runs)
    assert {repr(result.error) for result in results} == {"None"}
    assert {result.state["attempt"] for result in results if result.state} == {1}
    assert gauge.most == most


async def test_held_from_loader_to_saver_in_each_attempt(tmp_path: Path) -> None:
    """It is entered before the loader, left behind the saver, and not held between attempts."""
    recorder = Recorder()
    cp = CheckpointFlow(tmp_path / "c.pkl", load_policy="always")
    log = recorder.log

    def load(state: State) -> State:
        log.append("load")
        return {}

    def save(state: State) -> None:
        log.append("save")

    @cp.add_step(load, save, limiter=recorder, retry=AT_ONCE)
    def step(state: State) -> None:
        log.append("step")
        if current_step().attempt == 1:
            raise ConnectionError

    cp.add_step(name="free")(lambda state: log.append("free"))
    await cp.arun({})
    first = ["enter", "load", "step", "exit ConnectionError"]
    assert log == [*first, "enter", "load", "step", "save", "exit", "free"]


async def test_saver_called_again_alone_is_limited_too(tmp_path: Path) -> None:
    """The further attempt of a saver that raised holds the limiter as well."""
    recorder = Recorder()
    cp = CheckpointFlow(tmp_path / "c.pkl")

    def save(state: State) -> None:
        recorder.log.append("save")
        if current_step().attempt == 1:
            raise ConnectionError

    cp.add_step(save=save, limiter=recorder, retry=AT_ONCE, name="s")(
        lambda state: recorder.log.append("step")
    )
    await cp.arun({})
    first = ["enter", "step", "save", "exit ConnectionError"]
    assert recorder.log == [*first, "enter", "save", "exit"]


async def test_function_is_called_in_the_step(tmp_path: Path) -> None:
    """It has the state, the current step of each attempt, and the caller's context, on the loop."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[object] = []

    def find(state: State) -> AbstractAsyncContextManager[None]:
        step = current_step()
        on_loop = threading.current_thread() is threading.main_thread()
        seen.append((step.run_id, step.step, step.attempt, state["n"], variable.get(), on_loop))
        return nullcontext()

    cp = CheckpointFlow(tmp_path / "runs", handler="local")

    @cp.add_step(limiter=find, retry=AT_ONCE, thread=False, name="s")
    def step(state: State) -> None:
        state["n"] = 2
        if current_step().attempt == 1:
            raise ConnectionError

    variable.set("set")
    await cp.arun({"n": 1}, run_id="r")
    assert seen == [("r", "s", attempt, 1, "set", True) for attempt in (1, 2)]


async def test_attempt_of_around_begins_when_it_is_held(tmp_path: Path) -> None:
    """The managers of `around=` and `StepStarted` come behind the wait, and end before it does."""
    recorder = Recorder()

    @contextmanager
    def around(part: str, event: Event) -> Generator[None]:
        recorder.log.append(f"{part} begins")
        yield
        recorder.log.append(f"{part} ends")

    def hook(event: Event) -> None:
        recorder.log.append(type(event).__name__)

    cp = CheckpointFlow(tmp_path / "c.pkl", around=[around], hooks=[hook])
    cp.add_step(limiter=recorder, name="s")(lambda state: None)
    await cp.arun({})
    begin = recorder.log.index("enter")
    assert recorder.log[begin : begin + 6] == [
        *("enter", "attempt begins", "StepStarted", "StepFinished", "attempt ends", "exit"),
    ]


async def waiting_run(cp: CheckpointFlow, entered: asyncio.Event) -> asyncio.Task[State]:
    """Start a run, and give its task when it waits for its limiter."""
    task = asyncio.create_task(cp.arun({"n": 1}, run_id="r"))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    return task


def flow_that_waits(path: Path, limiter: asyncio.Semaphore, **options: Any) -> Any:  # noqa: ANN401
    """Make a flow of two steps, of which the second waits, and the event of its wait."""
    entered = asyncio.Event()
    cp = CheckpointFlow(f"sqlite:///{path}/runs.db", **options)

    def find(state: State) -> asyncio.Semaphore:
        entered.set()
        return limiter

    cp.add_step(name="free")(lambda state: state.update(free=1))
    cp.add_step(name="limited", limiter=find)(lambda state: state.update(limited=1))
    return cp, entered


async def test_drain_ends_the_wait(tmp_path: Path) -> None:
    """A drained run that waits is stopped as between two steps, and goes on in the next flow."""
    limiter = asyncio.Semaphore(1)
    cp, entered = flow_that_waits(tmp_path, limiter)
    async with limiter:
        run = await waiting_run(cp, entered)
        assert await asyncio.wait_for(cp.adrain(), PATIENCE) == []
        with pytest.raises(DrainingError):
            await run
    header = await cp.aheader("r")
    assert (header.status, header.stopped_by, header.position) == ("stopped", "drain", 1)
    assert header.failure is None
    assert not limiter.locked()
    again, _ = flow_that_waits(tmp_path, limiter)
    assert [result.state for result in await again.aresume_all()] == [
        {"n": 1, "free": 1, "limited": 1}
    ]


async def test_drain_that_comes_with_the_permit(tmp_path: Path) -> None:
    """A run that gets its permit as the flow is drained begins no step, and gives it back."""
    limiter = asyncio.Semaphore(1)
    cp, entered = flow_that_waits(tmp_path, limiter)
    await limiter.acquire()
    run = await waiting_run(cp, entered)
    drain = asyncio.create_task(cp.adrain())
    await asyncio.sleep(0)  # It has asked the run to stop.
    limiter.release()
    assert await asyncio.wait_for(drain, PATIENCE) == []
    with pytest.raises(DrainingError):
        await run
    assert not limiter.locked()
    assert (await cp.aread("r")) == {"n": 1, "free": 1, "checkpoint_index": 1}


@asynccontextmanager
async def when(event: asyncio.Event, do: Callable[[], object]) -> AsyncGenerator[None]:
    """Do something when an event comes in the block."""

    async def wait() -> None:
        await event.wait()
        do()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait())
        yield


async def by_task(run: Coroutine[Any, Any, object], entered: asyncio.Event) -> None:
    """Cancel the run by its task."""
    task = asyncio.create_task(run)
    async with when(entered, task.cancel):
        await asyncio.wait([task])
    assert task.cancelled()


async def by_timeout(run: Coroutine[Any, Any, object], entered: asyncio.Event) -> None:
    """Cancel it by a time limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            async with when(entered, lambda: limit.reschedule(0)):
                await run
    assert limit.expired()


async def by_scope(run: Coroutine[Any, Any, object], entered: asyncio.Event) -> None:
    """Cancel it by a scope of anyio."""
    with anyio.CancelScope() as scope:
        async with when(entered, scope.cancel):
            await run
    assert scope.cancelled_caught


@pytest.mark.parametrize("cancel", [by_task, by_timeout, by_scope])
async def test_cancellation_ends_the_wait(
    cancel: Callable[[Coroutine[Any, Any, object], asyncio.Event], Awaitable[None]], tmp_path: Path
) -> None:
    """A cancelled wait leaves the permit where it is, and the run is cancelled at that step."""
    limiter = asyncio.Semaphore(1)
    cp, entered = flow_that_waits(tmp_path, limiter)
    async with limiter, asyncio.timeout(PATIENCE):
        await cancel(cp.arun({"n": 1}, run_id="r"), entered)
    header = await cp.aheader("r")
    assert (header.status, header.position, header.failure.part) == ("cancelled", 1, "limiter")
    assert (await cp.arun(run_id="r"))["limited"] == 1
    assert not limiter.locked()


async def test_cancelled_and_drained_at_once(tmp_path: Path) -> None:
    """A task that is cancelled in the moment of a drain raises the cancellation."""
    limiter = asyncio.Semaphore(1)
    cp, entered = flow_that_waits(tmp_path, limiter)
    async with limiter:
        run = await waiting_run(cp, entered)
        drain = asyncio.create_task(cp.adrain())
        await asyncio.sleep(0)
        run.cancel()
        assert await asyncio.wait_for(drain, PATIENCE) == []
        with pytest.raises(asyncio.CancelledError):
            await run
    assert run.cancelled()
    assert (await cp.aheader("r")).position == 1


def broken(what: str, error: BaseException) -> Any:  # noqa: ANN401
    """Make a limiter that raises an error."""
    if what != "function":
        return Recorder(**{what: error})

    def find(state: State) -> AbstractAsyncContextManager[None]:
        raise error

    return find


@pytest.mark.parametrize("what", ["function", "enter", "exit"])
@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("late")], ids=type)
async def test_errors_are_failures_of_the_step(what: str, error: Exception, tmp_path: Path) -> None:
    """The same object comes out, with a note, and the header names the part."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s", limiter=broken(what, error))(lambda state: state.update(n=2))
    with pytest.raises(type(error)) as caught:
        await cp.arun({"n": 1})
    assert caught.value is error
    header = await cp.aheader()
    assert header is not None
    assert header.failure is not None
    assert (header.status, header.failure.part) == ("failed", "limiter")
    assert "step 1 of 1, 's', broke in its part 'limiter'" in error.__notes__[-1]
    assert await cp.aread() == {"n": 1, "checkpoint_index": 0}


async def test_error_of_the_limiter_is_retried(tmp_path: Path) -> None:
    """An attempt that could not get its limiter counts as an attempt."""
    recorder = Recorder(enter=ConnectionError())
    cp = CheckpointFlow(tmp_path / "c.pkl")

    def find(state: State) -> Recorder:
        if current_step().attempt == 2:
            recorder.faults.clear()
        return recorder

    cp.add_step(name="s", limiter=find, retry=AT_ONCE)(
        lambda state: state.update(attempt=current_step().attempt)
    )
    assert await cp.arun({}) == {"attempt": 2}
    assert recorder.log == ["enter", "exit"]


async def test_broken_step_keeps_its_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the limiter raises behind a broken step is logged, and what it swallows comes out."""
    recorder, error = Recorder(exit=OSError("gone")), ValueError(VALUE)
    recorder.swallows = True
    cp = CheckpointFlow(tmp_path / "c.pkl", name="f")

    @cp.add_step(limiter=recorder)
    async def step(state: State) -> None:
        raise error

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match=VALUE) as caught:
        await cp.arun({})
    assert caught.value is error
    logged = [record for record in caplog.records if "limiter=" in record.getMessage()]
    assert [record.levelname for record in logged] == ["ERROR"]
    assert VALUE not in logged[0].getMessage() + str(logged[0].exc_text)
    header = await cp.aheader()
    assert header is not None
    assert header.failure is not None
    assert header.failure.part == "step"
    del recorder.faults["exit"]
    with pytest.raises(ValueError, match=VALUE):
        await cp.arun({})


@pytest.mark.parametrize("what", ["function", "enter", "exit"])
@pytest.mark.parametrize("end", [Pause("wait"), Terminate("declined")], ids=type)
async def test_no_end_of_the_run(what: str, end: BaseException, tmp_path: Path) -> None:
    """Only the step itself may pause or terminate its run."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s", limiter=broken(what, end))(lambda state: None)
    words = f"the limiter of step 's' raised {type(end).__name__}"
    with pytest.raises(FlowDefinitionError, match=words):
        await cp.arun({})


async def test_pause_of_the_step_leaves_it(tmp_path: Path) -> None:
    """A run that waits for its answer holds no limiter."""
    recorder = Recorder()
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step(limiter=recorder)
    def step(state: State) -> None:
        if "by" not in state:
            raise Pause("waiting")

    await cp.arun({})
    assert recorder.log == ["enter", "exit Pause"]
    assert await cp.arun(update={"by": "Ann"}) == {"by": "Ann"}


@pytest.mark.parametrize("gives", [None, 4, threading.Lock(), "coroutine"], ids=type)
async def test_function_that_gives_no_manager(gives: object, tmp_path: Path) -> None:
    """The step fails, and the error names the remedy."""

    async def later() -> None:
        pass

    cp = CheckpointFlow(tmp_path / "c.pkl")
    find: Any = lambda state: later() if gives == "coroutine" else gives  # noqa: E731
    cp.add_step(name="s", limiter=find)(lambda state: None)
    with pytest.raises(FlowDefinitionError, match=r"step 's' gave .*contextlib\.nullcontext"):
        await cp.arun({})


async def test_stop_iteration_of_the_function(tmp_path: Path) -> None:
    """No coroutine can raise it, so it is the cause, as that of a step is."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    find: Any = lambda state: next(iter(()))  # noqa: E731
    cp.add_step(name="s", limiter=find)(lambda state: None)
    with pytest.raises(RuntimeError) as caught:
        await cp.arun({})
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_cancelled_while_it_is_left(tmp_path: Path) -> None:
    """The step is done by then: its snapshot is stored, and the cancellation raised behind it."""
    recorder = Recorder()
    recorder.waits = True
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s", limiter=recorder)(lambda state: state.update(n=2))
    cp.add_step(name="t")(lambda state: state.update(n=3))
    task = asyncio.create_task(cp.arun({"n": 1}))
    await asyncio.wait_for(recorder.leaving.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cp.aread() == {"n": 2, "checkpoint_index": 1}


def test_closed_coroutine_gives_it_back(tmp_path: Path) -> None:
    """A run that is collected with its loop in the midst of its step leaves the permit."""
    limiter = asyncio.Semaphore(1)
    cp = CheckpointFlow(tmp_path / "c.pkl")
    loop = asyncio.new_event_loop()

    @cp.add_step(limiter=limiter)
    async def step(state: State) -> None:
        loop.call_soon(loop.stop)
        await loop.create_future()

    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(cp.arun({}))
    loop.run_forever()
    assert limiter.locked()
    loop.close()
    del task
    gc.collect()
    assert not limiter.locked()


@pytest.mark.parametrize("name", ["run", "notebook"])
@pytest.mark.parametrize("method", ["run", "resume"])
def test_refused_without_a_loop(name: str, method: str, tmp_path: Path) -> None:
    """`run` and `resume` begin nothing, also where the step comes late, and give results."""
    runner = Runner(name)
    ran: list[int] = []
    cp = CheckpointFlow(tmp_path / "runs", handler="local")
    cp.add_step(name="first")(lambda state: ran.append(1))
    cp.add_step(name="second", limiter=asyncio.Semaphore(1))(lambda state: None)
    if method == "resume":
        asyncio.run(cp.arun({"n": 1}, run_id="r", until="first"))
    stored = cp.read("r")
    with pytest.raises(FlowDefinitionError, match=r"'second' has a limiter=.*arun") as caught:
        runner.do(cp, method, **({"state": {"n": 1}} if method == "run" else {}), run_id="r")
    assert caught.value.step == "second"
    assert (len(ran), cp.read("r")) == (int(method == "resume"), stored)
    asyncio.run(cp.arun({"n": 1}, run_id="r"))
    assert runner.do(cp, "resume", "r") == {"n": 1}
    assert runner.do(cp, "run", {"n": 1}, run_id="r", once=True) == {"n": 1}


def test_interrupted_everywhere(tmp_path: Path) -> None:
    """A flow with limiters is tested under `arun`."""

    def make(place: str) -> CheckpointFlow:
        cp: CheckpointFlow = CheckpointFlow(place)
        cp.add_step(name="a", limiter=asyncio.Semaphore(1))(lambda state: state.update(a=1))
        cp.add_step(name="b", limiter=lambda state: nullcontext())(lambda state: state.update(b=1))
        return cp

    assert crash_everywhere(make, {}, method="arun") > 4
    with pytest.raises(FlowDefinitionError):
        crash_everywhere(make, {})


@asynccontextmanager
async def slot(state: State) -> AsyncGenerator[None]:
    """Be a limiter's function."""
    yield


async def coroutine(state: State) -> None:
    """Be none."""


async def undecorated(state: State) -> AsyncGenerator[None]:
    """Be none."""
    yield


@pytest.mark.parametrize(
    ("limiter", "words"),
    [
        (4, "not a int"),
        ("four", "not a str"),
        (threading.Semaphore(1), "sync"),
        (threading.Lock(), "sync"),
        (nullcontext, "is a class"),
        (anyio.CapacityLimiter, "is a class"),
        (slot({}), "once"),
        (coroutine, "coroutine function"),
        (undecorated, "asynccontextmanager"),
        (lambda *, state: nullcontext(state), r"takes \(\*, state\)"),
        (lambda state, data: nullcontext(), r"takes \(state, data\)"),
    ],
    ids=[
        *("number", "text", "semaphore of threads", "lock of threads", "class", "limiter", "once"),
        *("coroutine function", "generator function", "no parameter", "two parameters"),
    ],
)
def test_bad_limiters(limiter: Any, words: str, tmp_path: Path) -> None:  # noqa: ANN401
    """They are refused where the step is registered, before its function."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    with pytest.raises(InvalidTypeError, match=rf"limiter= is .*{words}"):
        cp.add_step(limiter=limiter)


async def test_several_flows_share_one(tmp_path: Path) -> None:
    """One limiter holds for the steps of two flows together, under `amap` and `aresume_all`."""
    limiter, gauge = anyio.CapacityLimiter(3), Gauge()
    flows = [
        CheckpointFlow(f"sqlite:///{tmp_path}/runs.db", name=name, fsync=False) for name in "ab"
    ]

    async def call(state: State) -> None:
        with gauge:
            await asyncio.sleep(0.01)

    for cp in flows:
        cp.add_step(name="free")(lambda state: None)
        cp.add_step(limiter=limiter)(call)
    runs: dict[str, State] = {str(number): {} for number in range(10)}
    for run_id in runs:
        await flows[1].arun({}, run_id=run_id, until="free")
        await flows[1].apatch({}, 1, run_id=run_id)
    await asyncio.gather(flows[0].amap(runs), *(flows[1].aresume(run_id) for run_id in runs))
    assert gauge.most == 3
    assert limiter.borrowed_tokens == 0


def test_limiter_of_another_loop(tmp_path: Path) -> None:
    """A loop refuses a semaphore of another loop, which fails the step. A function has its own."""
    gauge = Gauge()
    by_loop: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()
    shared = asyncio.Semaphore(1)

    def of_loop(state: State) -> asyncio.Semaphore:
        return by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(2))

    async def call(state: State) -> None:
        with gauge:
            await asyncio.sleep(0.01)

    bad = CheckpointFlow(tmp_path / "bad", handler="local", fsync=False)
    good = CheckpointFlow(tmp_path / "good", handler="local", fsync=False)
    bad.add_step(limiter=shared)(call)
    good.add_step(limiter=of_loop)(call)

    async def errors(cp: CheckpointFlow) -> set[str]:
        runs: dict[str, State] = {str(number): {} for number in range(4)}
        results = await cp.amap(runs)
        return {repr(result.error)[:12] for result in results}

    assert asyncio.run(errors(bad)) == {"None"}
    assert asyncio.run(errors(bad)) == {"None", "RuntimeError"}
    assert [asyncio.run(errors(good)) for _ in range(2)] == [{"None"}] * 2
    assert gauge.most == 2


def test_closed_coroutine_closes_that_of_the_limiter(
    tmp_path: Path,
) -> None:
    """A leave that awaits is closed with its run, and ends there."""
    closed: list[str] = []
    loop = asyncio.new_event_loop()
    kept: list[Coroutine[Any, Any, None]] = []

    class Slow:
        async def __aenter__(self) -> None:
            pass

        def __aexit__(self, *_: object) -> Coroutine[Any, Any, None]:
            kept.append(self.leave())
            return kept[0]

        async def leave(self) -> None:
            try:
                await asyncio.sleep(0)  # Needs no loop.
            finally:
                closed.append("closed")

    cp = CheckpointFlow(tmp_path / "c.pkl")

    limiter: Any = Slow()

    @cp.add_step(limiter=limiter)
    async def step(state: State) -> None:
        loop.call_soon(loop.stop)
        await asyncio.Event().wait()

    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(cp.arun({}))
    loop.run_forever()
    loop.close()
    del task
    gc.collect()
    assert closed == ["closed"]
