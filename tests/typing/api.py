"""Typical uses, never run: the type checkers read them, and the inferred types must hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_type

import anyio
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    CurrentStep,
    DrainingError,
    Failure,
    FlowChangedError,
    Header,
    LeaseLostError,
    LocalStateHandler,
    MissingExtraError,
    Pause,
    Plan,
    Retry,
    RunInProgressError,
    RunResult,
    StepTimeoutError,
    StorageError,
    Stream,
    StreamConsumedError,
    SyncStream,
    UnserializableStateError,
    Watch,
    current_step,
    events,
)
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import crash_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator

State = dict[str, Any]
_Counts = dict[tuple[str | None, ...], int]


class DictHandler:
    """A handler of a user's own, synchronous."""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def read(self) -> State:
        """Return the stored state."""
        return {}

    def write(self, state: State) -> None:
        """Store a state."""


class AsyncDictHandler:
    """A handler of a user's own, asynchronous."""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    async def read(self) -> State:
        """Return the stored state."""
        return {}

    async def write(self, state: State) -> None:
        """Store a state."""


def on_event(event: events.Event) -> None:
    """Take an event, synchronously."""
    if isinstance(event, events.StepFinished):
        assert_type(event.step, str)
        assert_type(event.index, int)
        assert_type(event.seconds["step"], float)
    elif isinstance(event, events.SnapshotWritten):
        assert_type(event.bytes, int)
        assert_type(event.seconds, float)
    elif isinstance(event, events.StepFailed):
        assert_type(event.error, BaseException)
        assert_type(event.attempt, int)
    elif isinstance(event, events.AttemptFailed):
        assert_type(event.error, Exception)
        assert_type(event.attempt, int)
    elif isinstance(event, events.StepPaused):
        assert_type(event.reason, str)
    elif isinstance(event, events.RunStarted):
        assert_type(event.plan, Plan)


async def on_event_later(event: events.Event) -> None:
    """Take an event, asynchronously."""


cp = CheckpointFlow("checkpoint.pkl")
CheckpointFlow(Path("checkpoint.pkl"), handler="local", name="flow", fsync=False)
CheckpointFlow("checkpoint.pkl", hooks=[on_event, on_event_later])


@contextmanager
def span(part: str, event: events.Event) -> Generator[int]:
    """Set the trace of a run."""
    if isinstance(event, events.RunStarted):
        assert_type(event.trace, str | None)
        event.set_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    yield 1


@asynccontextmanager
async def span_later(
    part: Literal["run", "attempt", "snapshot"], event: events.Event
) -> AsyncGenerator[None]:
    """Wait."""
    yield


def no_span(part: str, event: object) -> None:
    """Give no context manager."""


CheckpointFlow("checkpoint.pkl", around=[span, span_later, no_span])
around: events.Around = span
CheckpointFlow("checkpoint.pkl", LocalStateHandler)
CheckpointFlow("checkpoint.pkl", handler=LocalStateHandler("checkpoint.pkl", fsync=False))
CheckpointFlow("postgresql://db/shop", connections=5, patience=120, schema="orders")
CheckpointFlow("sqlite:///runs.db", lease=10, keep="all", secret="s" * 32, allow=())
CheckpointFlow("runs.db", handler="sqlite", keep=3, fsync=False, verify=True)
CheckpointFlow("runs.db", handler=SqliteStateHandler)
CheckpointFlow("runs.db", handler=SqliteStateHandler(Path("runs.db"), lease=2.5, flow="runs"))
CheckpointFlow("runs/", name="orders")
CheckpointFlow("checkpoint.pkl", handler=DictHandler)
CheckpointFlow("checkpoint.pkl", handler=AsyncDictHandler)
CheckpointFlow("checkpoint.pkl", handler=DictHandler("checkpoint.pkl"))
CheckpointFlow("checkpoint.pkl", handler=AsyncDictHandler("checkpoint.pkl"))
CheckpointFlow("runs.db", handler="sqlite", keep_data=True)
assert_type(cp.name, str)


def load(state: State) -> State:
    """Load, synchronously."""
    return {"numbers": [1, 2, 3], **state}


async def load_later(state: State) -> State:
    """Load, asynchronously."""
    return load(state)


def save(state: State, data: State) -> None:
    """Save, synchronously."""


async def save_state(state: State) -> None:
    """Save, asynchronously, with no need of the data."""


@cp.add_step()
def first(state: State) -> None:
    """Be a step without data."""


@cp.add_step(load=load, save=save)
def second(state: State, data: State) -> None:
    """Be a step with data, a loader and a saver."""


@cp.add_step(load_later, save_state, name="fetch", thread=False, replace=True)
async def third(state: State, data: State) -> int:
    """Be an asynchronous step, whose result the flow ignores."""
    return len(data)


@cp.add_step(load, needs=("numbers",), before="second")
@cp.add_step(load, needs=["numbers"], after=0, name="other")
def with_needs(state: State, data: State) -> None:
    """Be a step that is loaded where it must, at a place of its own."""


@asynccontextmanager
async def slot(state: State) -> AsyncGenerator[None]:
    """Limit a step."""
    yield


tenants: dict[str, asyncio.Semaphore] = {}
cp.add_step(name="limited", limiter=asyncio.Semaphore(4))(third)
cp.add_step(name="limited too", limiter=anyio.CapacityLimiter(4))(third)
cp.add_step(name="limited by a function", limiter=slot)(third)
cp.add_step(name="by tenant", limiter=lambda state: tenants[state["tenant"]], timeout=1)(third)

CheckpointFlow("checkpoint.pkl", load_policy="always", threads=4)
assert_type(cp.remove_step("other"), None)


class Model:
    """A class whose methods are steps."""

    def fit(self, state: State, data: State) -> None:
        """Be a step with data."""

    async def __call__(self, state: State) -> None:
        """Be a step, as a callable object."""


def wait_for(state: State) -> Awaitable[None]:
    """Be a plain function that returns an awaitable."""
    return save_state(state)


def scaled(factor: int, state: State, data: State) -> None:
    """Be a step once its factor is given."""


cp.add_step(name="fit")(Model().fit)
cp.add_step(name="call")(Model())
cp.add_step(load=lambda state: {"n": state["n"]})(wait_for)
cp.add_step(load=partial(load), save=partial(save), name="scaled")(partial(scaled, 2))


def worth_it(error: Exception) -> float | timedelta:
    """Return the delay before the next try."""
    return timedelta(seconds=2) if isinstance(error, TimeoutError) else 0.5


Retry()
Retry(on=(ConnectionError, TimeoutError), attempts=None, timeout=timedelta(minutes=5))
Retry(on=lambda error: "busy" in str(error), wait_initial=timedelta(milliseconds=50))
assert_type(Retry(attempts=3, wait_max=5, wait_jitter=0, wait_exp_base=3).attempts, int | None)


@cp.add_step(load_later, save_state, retry=Retry(on=worth_it), timeout=2.5)
async def charge(state: State, data: State) -> None:
    """Be a step with retries, limits and a pause."""
    if "approved" not in state:
        raise Pause("waiting for approval")


cp.add_step(retry=3, name="again")(first)
assert_type(Pause().reason, str)
assert_type(Pause(due=timedelta(days=1)).due, float | None)


# The decorator returns the function unchanged, so its own signature still counts.
assert_type(first({}), None)
second(state={}, data={})


async def decorated() -> None:
    """Call a decorated coroutine function as any other."""
    assert_type(await third({}, {}), int)


def from_a_script() -> None:
    """Use the synchronous runner."""
    assert_type(cp.run(), State)
    assert_type(cp.run({"a": 1}), State)
    assert_type(cp.run({"a": 1}, "always", 1), State)
    assert_type(cp.run({"a": 1}, None, data={"numbers": [1]}), State)
    assert_type(cp.resume("order-42", {"approved": True}, wait=1), State)
    assert_type(cp.run({"a": 1}, load_policy=[True, False, True], checkpoint="fetch"), State)
    assert_type(cp.run(until="fetch", run_id="order-42", wait=2.5), State)
    assert_type(cp.plan({"a": 1}, checkpoint=-1 + 1, until=2), Plan)
    assert_type(cp.reset(run_id="order-42"), None)


async def from_a_service() -> None:
    """Use the asynchronous runner."""
    assert_type(await cp.arun(), State)
    assert_type(await cp.arun({"a": 1}, load_policy="first only", wait=1), State)
    assert_type(await cp.arun(data={}), State)
    assert_type(await cp.aresume("order-42"), State)
    assert_type(await cp.aplan(), Plan)
    assert_type(await cp.areset(), None)


async def of_many_runs(page: Header) -> None:
    """Keep many runs, from a service."""
    assert_type(await cp.arun({"a": 1}, run_id="order-42", once=True), State)
    assert_type(await cp.aruns(), list[Header])
    assert_type(await cp.aruns("failed", limit=10, after=page), list[Header])
    assert_type(await cp.aruns(["failed", "stopped"]), list[Header])
    assert_type(await cp.aread("order-42"), State)
    assert_type(await cp.apatch({"a": 2}, checkpoint="fetch", run_id="order-42"), Header)
    assert_type(await cp.areset(run_id="order-42"), None)
    assert_type(await cp.adelete("order-42"), bool)
    assert_type(await cp.aprune(timedelta(days=30), ("finished", "failed")), int)
    assert_type(await cp.acount(), int)
    assert_type(await cp.acount(by="status"), dict[str, int])
    assert_type(await cp.acount(by="step"), dict[str | None, int])
    assert_type(await cp.acount(("step", "error"), status="failed"), _Counts)
    assert_type(await cp.aruns("failed", step="a", since=timedelta(hours=2)), list[Header])
    assert_type(await cp.ahistory("x"), list[Header])
    async for result in cp.aresume_all(limit=10):
        of_a_result(result)
    async with aclosing(cp.aresume_all()) as results:
        assert_type(await anext(results), RunResult)


async def pairs() -> AsyncIterator[tuple[str, State]]:
    """Give runs one by one."""
    yield "order-42", {"a": 1}


async def of_a_service() -> None:
    """Run many at once, watch one, let it wait and resume, and shut down."""
    assert_type(cp.amap({"order-42": {"a": 1}}), Stream[RunResult])
    assert_type(await cp.amap([("order-42", {"a": 1})], limit=10, once=True), list[RunResult])
    async for result in cp.amap(pairs(), "always"):
        assert_type(result, RunResult)
    async with aclosing(cp.astream({"a": 1}, run_id="order-42", once=True)) as stream:
        assert_type(stream, Stream[events.Event])
        async for event in stream:
            on_event(event)
    assert_type(await cp.astream(update={"approved": True}), list[events.Event])
    assert_type(await cp.arun(run_id="order-42", update={"approved": True}), State)
    assert_type(await cp.aruns("paused"), list[Header])
    assert_type(await cp.aheader("order-42"), Header | None)
    assert_type(await cp.aresume_all(limit=5), list[RunResult])
    assert_type(await cp.adrain(timeout=10), list[str | None])
    assert_type(cp.run(update={"approved": True}), State)
    assert_type(cp.header(), Header | None)


def of_a_test() -> None:
    """Interrupt a flow everywhere, also behind its pauses."""
    assert_type(crash_everywhere(CheckpointFlow, {}, update={"a": 1}), int)


def of_many_runs_in_a_notebook() -> None:
    """Keep many runs, without a loop."""
    assert_type(cp.map({"order-42": {"a": 1}}), SyncStream[RunResult])
    with cp.map(pairs(), "always", limit=10, once=True) as results:
        assert_type(next(results), RunResult)
    for result in cp.map((str(number), {"n": number}) for number in range(3)):
        of_a_result(result)
    assert_type(list(cp.stream({"a": 1}, run_id="order-42")), list[events.Event])
    assert_type(cp.stream(update={"approved": True}).close(), None)
    assert_type(list(cp.resume_all(limit=5, status="failed")), list[RunResult])
    assert_type(list(cp.work(limit=5, until_empty=True, status=["queued"])), list[RunResult])
    assert_type(cp.runs({"running"}, limit=1), list[Header])
    assert_type(cp.read(), State)
    assert_type(cp.read("id", partial=True), State)
    assert_type(cp.check_point(), State)
    assert_type(cp.patch({}, 3), Header)
    assert_type(cp.delete("order-42"), bool)
    assert_type(cp.prune(3600.5), int)
    assert_type(cp.count(), int)
    assert_type(cp.count("status"), dict[str, int])
    assert_type(cp.count(by="step"), dict[str | None, int])
    assert_type(cp.count(by="day", ids="order-*", stale=True), dict[str | None, int])
    assert_type(cp.count(["step", "error"], tries=3), _Counts)
    assert_type(cp.resume_all(error="*.TimeoutError", limit=3), SyncStream[RunResult[State]])


def of_a_result(result: RunResult) -> None:
    """Inspect the outcome of a resumed run."""
    assert_type(result.run_id, str | None)
    assert_type(result.state, State | None)
    assert_type(result.error, BaseException | None)
    if result.status == "paused":
        assert_type(result.run_id, str | None)


def of_a_step() -> None:
    """Ask, in a step, which one it is."""
    assert_type(current_step(), CurrentStep)
    assert_type(current_step().run_id, str | None)
    assert_type(current_step().attempt, int)
    assert_type(current_step().idempotency_key, str)
    assert_type(current_step().cursor, dict[str, Any] | None)
    current_step().progress(Decimal(1), 2.5, "rows", cursor={"page": 1})
    assert_type(current_step().track([1, 2]), Iterator[int])
    assert_type(current_step().track(rows(), 2, "rows"), AsyncIterator[str])


async def own_sql() -> None:
    """Execute SQL in the transaction of a step, as a coroutine and as a sync function."""
    assert_type(await current_step().connection(), AsyncConnection[TupleRow])
    connection: Connection[TupleRow] = current_step().connection()
    assert_type(connection.execute("SELECT 1").fetchall(), list[TupleRow])


async def rows() -> AsyncIterator[str]:
    """Give two rows."""
    yield "one"
    yield "two"


async def of_watching() -> None:
    """Hear the events of all runs."""
    async with cp.watch("order-1", size=10, until_end=True) as watch:
        assert_type(watch, Watch)
        assert_type([event async for event in watch], list[events.Event])
    with cp.watch() as watch:
        assert_type(list(watch), list[events.Event])
        assert_type(watch.in_progress, bool)


async def of_the_store() -> None:
    """Read, edit and write the stored state."""
    handler = LocalStateHandler("checkpoint.pkl")
    assert_type(handler.read(), State)
    assert_type(handler.read(partial=True), State)
    assert_type(await handler.aread("order-42"), State)
    handler.write({"a": 2, "checkpoint_index": 1})
    await handler.awrite({"a": 2}, run_id="order-42")
    assert_type(handler.header(), Header | None)


def of_a_plan(plan: Plan) -> None:
    """Inspect the next run."""
    assert_type(plan.start, int)
    assert_type(plan.stop, int)
    assert_type(plan.steps, tuple[str, ...])
    assert_type(plan.loads, tuple[bool, ...])
    assert_type(plan.fresh, bool)
    assert_type(plan.ignores_given, bool)
    assert_type(plan.given, Literal["equal", "similar", "different", "unknown"] | None)
    assert_type(plan.edited, tuple[str, ...])
    assert_type(plan.reason, str)
    assert_type(plan.needs, tuple[tuple[str, ...], ...])
    assert_type(plan.refused, CheckpointError | None)


def of_a_header(header: Header) -> None:
    """Inspect the header of a file."""
    assert_type(header.flow, str)
    assert_type(header.initial_digest, str | None)
    assert_type(header.step_digests, dict[str, str])
    assert_type(header.run_id, str | None)
    assert_type(header.steps, tuple[str, ...] | None)
    assert_type(header.position, int)
    assert_type(header.failure, Failure | None)
    assert_type(header.pause, str | None)
    assert_type(header.attempts, dict[str, int])
    assert_type(header.holds_data, bool)
    assert_type(header.started_at, float)
    assert_type(header.owner, str | None)


def of_an_error() -> None:
    """Read the facts that the errors carry."""
    try:
        cp.run()
    except FlowChangedError as error:
        assert_type(error.stored_steps, tuple[str, ...])
        assert_type(error.current_steps, tuple[str, ...])
        assert_type(error.position, int)
    except RunInProgressError as error:
        assert_type(error.pid, int | None)
    except UnserializableStateError as error:
        assert_type(error.offenders, tuple[tuple[str, str], ...])
    except CorruptSnapshotError as error:
        assert_type(error.reason, str)
    except LeaseLostError as error:
        assert_type(error.path, str)
    except MissingExtraError as error:
        assert_type(error.install, str | None)
        assert_type(error.wanted, str)
    except StorageError as error:
        assert_type(error.path, str)
    except CheckpointError as error:
        assert_type(str(error), str)


def of_an_error_of_a_service() -> None:
    """Read the facts that the errors of a living service carry."""
    try:
        cp.run()
    except StepTimeoutError as error:
        assert_type(error.seconds, float)
        assert_type(error.part, str)
    except DrainingError as error:
        assert_type(error.flow, str)
    except StreamConsumedError as error:
        assert_type(str(error), str)


def misuses() -> None:
    """Show the misuses that the types refuse. An accepted line makes its ignore an error."""
    CheckpointFlow()  # type: ignore[call-arg]
    CheckpointFlow("checkpoint.pkl", hooks=on_event)  # type: ignore[arg-type]
    CheckpointFlow("checkpoint.pkl", around=[on_event])  # type: ignore[list-item]
    cp.add_step(load=first)  # type: ignore[arg-type]
    cp.add_step(save="numbers")  # type: ignore[call-overload]
    cp.add_step()(scaled)  # type: ignore[type-var]
    cp.run([("a", 1)])  # type: ignore[arg-type]
    cp.run(load_policy="sometimes")  # type: ignore[arg-type]
    cp.run(data=[1])  # type: ignore[arg-type]
    cp.add_step(load, needs=5)  # type: ignore[call-overload]
    cp.remove_step(1)  # type: ignore[arg-type]
    CheckpointFlow("checkpoint.pkl", load_policy=[True])  # type: ignore[arg-type]
    cp.patch("order-42", {})  # type: ignore[arg-type]
    cp.run(checkpoint=1.5)  # type: ignore[arg-type]
    cp.run(update=[("a", 1)])  # type: ignore[arg-type]
    cp.add_step(retry="often")  # type: ignore[call-overload]
    cp.add_step(timeout="soon")  # type: ignore[call-overload]
    cp.amap(["order-42"])  # type: ignore[list-item]
    cp.amap({"order-42": 1})  # type: ignore[arg-type]
    cp.amap({}, limit="all")  # type: ignore[arg-type]
    cp.astream(run_id=42)  # type: ignore[arg-type]
    Retry(5)  # type: ignore[call-arg,arg-type]
    Retry(on="errors")  # type: ignore[arg-type]
    Retry(on=KeyboardInterrupt)  # type: ignore[arg-type]
    Pause(reason=1)  # type: ignore[arg-type]
    Pause(due=60)  # type: ignore[arg-type]
    cp.runs("done")  # type: ignore[arg-type]
    cp.runs(limit="all")  # type: ignore[arg-type]
    cp.delete(None)  # type: ignore[arg-type]
    cp.patch(["a"])  # type: ignore[arg-type]
