"""`around=`: context managers around a run, its attempts and its snapshots."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from run_factories import UNFINISHED
from spans import SPAN, AsyncSpans, Span, Spans

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidTypeError,
    Pause,
    Retry,
    current_step,
)
from aiocheckpoint.events import SnapshotWritten

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from support import Runner, State

    from aiocheckpoint.events import Event

LOGGER = "aiocheckpoint"
AT_ONCE = Retry(attempts=2, wait_initial=0, wait_jitter=0)
KINDS = pytest.mark.parametrize("kind", [Spans, AsyncSpans], ids=["sync", "async"])


def look(*, step: str, part: str) -> None:
    """See that the current span is that of the attempt that runs."""
    span, now = SPAN.get(), current_step()
    assert span is not None
    assert span.name == ("attempt", step, now.attempt), part
    assert span.run_id == now.run_id


def add_looking(cp: CheckpointFlow, name: str, *, is_async: bool, work: Any) -> None:  # noqa: ANN401
    """Add a step of which each part looks at its span. The step does some work."""

    def load(state: State) -> State:
        look(step=name, part="load")
        return {}

    def save(state: State, data: State) -> None:
        look(step=name, part="save")

    def sync_step(state: State) -> None:
        look(step=name, part="step")
        work(state)

    async def async_step(state: State) -> None:
        await asyncio.sleep(0.001)
        look(step=name, part="step")
        await work(state)
        look(step=name, part="step")

    cp.add_step(load, save, name=name, retry=AT_ONCE)(async_step if is_async else sync_step)


def flow_of_all_ends(place: str, spans: Spans) -> CheckpointFlow:
    """Make a flow whose runs end in each way, by the key "way"."""
    cp = CheckpointFlow(place, around=[spans], load_policy="always", name="s")

    def first(state: State) -> None:
        if state["way"] == "retries" and current_step().attempt == 1:
            raise ConnectionError

    async def second(state: State) -> None:
        match state["way"]:
            case "fails":
                raise ConnectionError
            case "is cancelled":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(5)
            case "pauses":
                raise Pause("waiting")
            case _:
                await asyncio.sleep(0)

    add_looking(cp, "first", is_async=False, work=first)
    add_looking(cp, "second", is_async=True, work=second)
    add_looking(cp, "third", is_async=False, work=lambda state: None)
    return cp


SNAPSHOTS = [("snapshot", None, 0), ("snapshot", "first", 1), ("snapshot", "second", 2)]
START, BEHIND_FIRST, BEHIND_SECOND = SNAPSHOTS
END = ("snapshot", "third", 0)
WAYS: dict[str, tuple[list[tuple[object, ...]], type[BaseException] | None]] = {
    "finishes": (
        [
            *(START, ("attempt", "first", 1), BEHIND_FIRST, ("attempt", "second", 1)),
            *(BEHIND_SECOND, ("attempt", "third", 1), END),
        ],
        None,
    ),
    "retries": (
        [
            *(START, ("attempt", "first", 1), ("attempt", "first", 2), BEHIND_FIRST),
            *(("attempt", "second", 1), BEHIND_SECOND, ("attempt", "third", 1), END),
        ],
        None,
    ),
    "fails": (
        [
            *(START, ("attempt", "first", 1), BEHIND_FIRST),
            *(("attempt", "second", 1), ("attempt", "second", 2)),
        ],
        ConnectionError,
    ),
    "is cancelled": (
        [START, ("attempt", "first", 1), BEHIND_FIRST, ("attempt", "second", 1)],
        asyncio.CancelledError,
    ),
    "pauses": ([START, ("attempt", "first", 1), BEHIND_FIRST, ("attempt", "second", 1)], None),
}


def check_run(root: Span, way: str) -> None:
    """Check the spans of one run: parents, order, errors, and that each has ended."""
    names, error = WAYS[way]
    assert root.names == names
    assert type(root.error) is (type(None) if error is None else error)
    last = root.children[-1]
    assert type(last.error) is {"pauses": Pause}.get(way, type(root.error))
    assert [child.children for child in root.children] == [[] for _ in root.children]
    assert all(span.ended for span in (root, *root.children))


@KINDS
@pytest.mark.parametrize("place", ["runs/", "sqlite:///runs.db"])
async def test_every_parent_is_right_with_100_runs_at_once(
    kind: type[Spans],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Retries, failures, cancellations, pauses and threads: no span leaks, and none is lost."""
    monkeypatch.chdir(tmp_path)
    spans = kind()
    cp = flow_of_all_ends(place, spans)

    async def request(number: int, way: str) -> None:
        mine = Span(("request", number))
        SPAN.set(mine)
        with suppress(ConnectionError, asyncio.CancelledError):
            await cp.arun({"way": way}, run_id=f"{number}")
        assert SPAN.get() is mine
        assert len(mine.children) == 1
        check_run(mine.children[0], way)

    ways = [list(WAYS)[number % len(WAYS)] for number in range(100)]
    await asyncio.gather(*map(request, range(100), ways))
    assert len(spans.roots()) == 100
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@KINDS
@pytest.mark.parametrize("way", ["finishes", "retries", "fails", "pauses"])
def test_every_runner_has_the_same_spans(
    kind: type[Spans],
    way: str,
    any_runner: Runner,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Under `run` too, and in a notebook, where coroutines run on a loop of their own."""
    spans = kind()
    cp = flow_of_all_ends(str(tmp_path / "c.pkl"), spans)
    with suppress(ConnectionError):
        any_runner(cp, {"way": way})
    (root,) = spans.roots()
    check_run(root, way)
    assert SPAN.get() is None
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@KINDS
async def test_drained_run_leaves_its_spans(kind: type[Spans], tmp_path: Path) -> None:
    """The run's manager gets the error that the caller gets. The step that ended has none."""
    spans, begun, go = kind(), asyncio.Event(), asyncio.Event()
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/s.db", around=[spans])

    @cp.add_step()
    async def first(state: State) -> None:
        begun.set()
        await go.wait()

    cp.add_step(name="second")(lambda state: None)
    run = asyncio.ensure_future(cp.arun({}, run_id="r"))
    await begun.wait()
    drain = asyncio.ensure_future(cp.adrain())
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(DrainingError) as info:
        await run
    await drain
    (root,) = spans.roots()
    assert root.error is info.value
    assert root.names == [START, ("attempt", "first", 1), BEHIND_FIRST]
    assert [child.error for child in root.children] == [None] * 3
    assert all(span.ended for span in spans.all)


@KINDS
async def test_scope_that_is_cancelled_leaves_the_spans(kind: type[Spans], tmp_path: Path) -> None:
    """A sync manager is left where anyio raises the cancellation at every await.

    An async one that awaits behind its span has closed that before.
    """
    spans = kind()
    cp = CheckpointFlow(tmp_path / "c.pkl", around=[spans])

    with anyio.CancelScope() as scope:

        @cp.add_step()
        async def hangs(state: State) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await cp.arun()
    assert scope.cancelled_caught
    assert SPAN.get() is None
    assert all(span.ended for span in spans.all)
    header = await cp.aheader()
    assert header is not None
    assert header.status == "cancelled"


async def test_cancellation_in_a_thread_is_behind_the_attempt(tmp_path: Path) -> None:
    """A sync step that ends while a cancellation waits has done its work: no error of its span."""
    spans, begun, go = Spans(), threading.Event(), threading.Event()
    cp = CheckpointFlow(tmp_path / "c.pkl", around=[spans])

    @cp.add_step()
    def slow(state: State) -> None:
        begun.set()
        go.wait(5)
        look(step="slow", part="step")

    cp.add_step(name="last")(lambda state: None)
    run = asyncio.ensure_future(cp.arun())
    await asyncio.to_thread(begun.wait, 5)
    run.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    (root,) = spans.roots()
    assert root.names == [START, ("attempt", "slow", 1), ("snapshot", "slow", 1)]
    assert [type(child.error).__name__ for child in root.children[:2]] == ["NoneType"] * 2
    assert isinstance(root.error, asyncio.CancelledError)


class Slow:
    """A manager that waits at its entry or exit of one part, for a cancellation."""

    def __init__(self, part: str, when: str) -> None:
        self.part, self.when = part, when
        self.waits = asyncio.Event()
        self.calls: list[str] = []

    def __call__(self, part: str, event: Event) -> Slow | None:
        """Be the manager of that part, for the step."""
        is_start = getattr(event, "step", "") is None
        return self if part == self.part and not is_start else None

    async def __aenter__(self) -> None:
        """Enter."""
        await self._wait("enter")

    async def __aexit__(self, kind: object, *_: object) -> None:
        """Leave."""
        self.calls.append(getattr(kind, "__name__", "no error"))
        await self._wait("leave")

    async def _wait(self, when: str) -> None:
        if when == self.when:
            self.waits.set()
            await asyncio.sleep(5)


@pytest.mark.parametrize("when", ["enter", "leave"])
@pytest.mark.parametrize("part", ["run", "attempt", "snapshot"])
async def test_cancellation_in_a_manager_is_that_of_the_run(
    part: str, when: str, tmp_path: Path
) -> None:
    """A step that is done then is stored as done."""
    spans, slow, done = Spans(), Slow(part, when), list[str]()
    cp = CheckpointFlow(tmp_path / "c.pkl", around=[spans, slow])
    cp.add_step(name="only")(lambda state: done.append("only"))
    run = asyncio.ensure_future(cp.arun())
    await slow.waits.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert all(span.ended for span in spans.all)
    header = await cp.aheader()
    is_done = (part, when) not in {("run", "enter"), ("attempt", "enter")}
    assert done == (["only"] if is_done else [])
    if part == "run" and when == "enter":
        assert header is None
    else:
        assert header is not None
        assert header.status == ("finished" if is_done else "cancelled")


@pytest.mark.parametrize("step", ["fails", "stops an iteration", "is interrupted"])
def test_managers_get_the_exception_and_cannot_swallow_it(
    step: str, runner: Runner, tmp_path: Path
) -> None:
    """They get the very object that comes out, in reverse order."""
    error = {
        "fails": OSError(step),
        "stops an iteration": StopIteration(step),
        "is interrupted": KeyboardInterrupt(step),
    }[step]
    calls: list[tuple[str, str, object]] = []

    class Swallows:
        def __init__(self, name: str, part: str) -> None:
            self.name, self.part = name, part

        def __enter__(self) -> str:
            calls.append((self.name, self.part, "enter"))
            return "a value that nobody takes"

        def __exit__(self, _: object, raised: object, __: object) -> bool:
            calls.append((self.name, self.part, raised))
            return True

    def around(name: str) -> Callable[..., Any]:
        return lambda part, _: None if part == "snapshot" else Swallows(name, part)

    cp = CheckpointFlow(tmp_path / "c.pkl", around=[around("a"), around("b")])

    @cp.add_step(thread=False)
    def breaks(state: State) -> None:
        raise error

    with pytest.raises((OSError, StopIteration, KeyboardInterrupt, RuntimeError)) as info:
        runner(cp)
    came = info.value.__cause__ if isinstance(info.value, RuntimeError) else info.value
    assert came is error
    assert calls == [
        *(("a", "run", "enter"), ("b", "run", "enter")),
        *(("a", "attempt", "enter"), ("b", "attempt", "enter")),
        *(("b", "attempt", error), ("a", "attempt", error)),
        *(("b", "run", error), ("a", "run", error)),
    ]


class Breaks:
    """A function for `around=` that fails in one of many ways."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __call__(self, part: str, event: Event) -> Any:  # noqa: ANN401
        """Fail, or give what fails later."""
        match self.way:
            case "is called":
                raise ValueError(part)
            case "gives a number":
                return 7
            case "gives a coroutine":
                return asyncio.sleep(0)
            case "cancels itself at its entry" | "cancels itself at its exit":
                return self.async_manager()
            case _:
                return self.manager()

    @contextmanager
    def manager(self) -> Generator[None, None, None]:
        """Fail at the entry, or at the exit."""
        if self.way == "is entered":
            raise ValueError
        if self.way == "is cancelled":
            raise asyncio.CancelledError
        if self.way == "pauses":
            raise Pause("not here")
        yield
        raise ValueError

    @asynccontextmanager
    async def async_manager(self) -> AsyncGenerator[None, None]:
        """Raise a cancellation that is none of the run."""
        await asyncio.sleep(0)
        if self.way == "cancels itself at its entry":
            raise asyncio.CancelledError
        yield
        raise asyncio.CancelledError


FAILING = (
    *("is called", "is entered", "is left", "gives a number", "gives a coroutine"),
    *("is cancelled", "pauses", "cancels itself at its entry", "cancels itself at its exit"),
)


@pytest.mark.parametrize("way", FAILING)
def test_around_that_fails_is_logged_and_breaks_nothing(
    way: str, any_runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run, and the managers before and behind it, go on."""
    before, behind = Spans(), Spans()
    cp = CheckpointFlow(tmp_path / "c.pkl", around=[before, Breaks(way), behind], name="s")
    cp.add_step(name="only")(lambda state: state.update(done=True))
    assert any_runner(cp, run_id=None) == {"done": True}
    for spans in (before, behind):
        assert all(span.ended and span.error is None for span in spans.all)
        assert Counter(span.name[0] for span in spans.all) == Counter(run=1, attempt=1, snapshot=2)
    found = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(found) == 4
    assert all("Breaks" in one.getMessage() for one in found)
    assert {one.__dict__["flow"] for one in found} == {"s"}
    assert [one.__dict__["step"] for one in found].count("only") == 2


def test_manager_that_fails_behind_a_failure(
    runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception of the step comes out, with the traceback and the note that it has else."""

    class Raises:
        def __enter__(self) -> None:
            """Enter."""

        def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
            if error is not None:
                raise error

    class RaisesAnother(Raises):
        def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
            raise LookupError

    def tracebacks(*around: type[Raises]) -> list[str]:
        error = OSError("broken")
        functions = [lambda *_, kind=kind: kind() for kind in around]
        cp = CheckpointFlow(tmp_path / f"{len(around)}.pkl", around=functions)

        @cp.add_step()
        def breaks(state: State) -> None:
            raise error

        with pytest.raises(OSError, match="broken") as info:
            runner(cp)
        assert info.value is error
        assert "step 1 of 1, 'breaks', broke" in error.__notes__[-1]
        frames = [entry.name for entry in info.traceback]
        return frames[frames.index("__call__") + 1 :]

    assert tracebacks(Raises, RaisesAnother) == tracebacks()
    assert len([one for one in caplog.records if "around=" in one.getMessage()]) == 3
    assert "broken" not in caplog.text.replace("step 1 of 1, 'breaks', broke", "")


def test_an_interruption_in_a_manager_leaves_the_others(tmp_path: Path) -> None:
    """Ctrl-C in the midst of an exit comes out, and the managers outside get it."""
    spans = Spans()

    @contextmanager
    def interrupted(part: str, event: Event) -> Generator[None, None, None]:
        yield
        if part == "attempt":
            raise KeyboardInterrupt

    cp = CheckpointFlow(tmp_path / "c.pkl", around=[spans, interrupted])
    cp.add_step(name="only")(lambda state: None)
    with pytest.raises(KeyboardInterrupt):
        cp.run()
    assert all(span.ended for span in spans.all)
    assert [type(span.error).__name__ for span in spans.all] == [
        *("KeyboardInterrupt", "NoneType", "KeyboardInterrupt")
    ]
    assert SPAN.get() is None


def test_a_run_that_is_closed_leaves_its_sync_managers(tmp_path: Path) -> None:
    """A coroutine that is closed may not await, so that async managers are passed over."""
    spans = Spans()
    cp = CheckpointFlow(tmp_path / "c.pkl", around=[spans, lambda *_: asyncio.Lock()])
    begun = asyncio.Event()

    @cp.add_step()
    async def hangs(state: State) -> None:
        begun.set()
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(cp.arun())
    loop.run_until_complete(begun.wait())
    loop.close()
    task.get_coro().close()
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
    assert [span.ended for span in spans.all] == [True] * 3


@pytest.mark.parametrize("place", ["runs/", "sqlite:///runs.db"])
async def test_streams_have_spans_too(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`amap`, `astream` and `aresume_all` run inside them, in the contexts of their tasks."""
    monkeypatch.chdir(tmp_path)
    spans = Spans()
    cp = flow_of_all_ends(place, spans)
    await cp.amap({"a": {"way": "fails"}, "b": {"way": "finishes"}})
    assert Counter(root.run_id for root in spans.roots()) == Counter("ab")
    kinds = [type(event).__name__ async for event in cp.astream({"way": "finishes"}, run_id="c")]
    assert "StepFinished" in kinds
    assert "SnapshotStarted" not in kinds
    spans.all.clear()
    await cp.aresume_all(status=UNFINISHED)
    (root,) = spans.roots()
    assert (root.run_id, root.names) == ("a", [("attempt", "second", 3), ("attempt", "second", 4)])
    assert SPAN.get() is None


async def test_finished_run_under_once_and_refused_runs_have_no_span(tmp_path: Path) -> None:
    """Only an execution has one."""
    spans = Spans()
    cp = flow_of_all_ends(f"sqlite:///{tmp_path}/s.db", spans)
    await cp.arun({"way": "finishes"}, run_id="a")
    spans.all.clear()
    await cp.arun({"way": "finishes"}, run_id="a", once=True)
    assert spans.all == []


def test_hooks_are_called_inside(any_runner: Runner, tmp_path: Path) -> None:
    """A hook finds the span of its part as the current one."""
    seen: list[tuple[str, object]] = []

    def hook(event: Event) -> None:
        span = SPAN.get()
        assert span is not None
        seen.append((type(event).__name__, span.name[0]))
        if isinstance(event, SnapshotWritten):
            assert span.name[2] == event.position

    cp = CheckpointFlow(tmp_path / "c.pkl", around=[Spans()], hooks=[hook])
    cp.add_step(name="only")(lambda state: None)
    any_runner(cp)
    assert seen == [
        *(("RunStarted", "run"), ("SnapshotWritten", "snapshot"), ("StepStarted", "attempt")),
        *(("StepFinished", "attempt"), ("SnapshotWritten", "snapshot"), ("RunFinished", "run")),
    ]


def called_span() -> Any:  # noqa: ANN401
    """What a decorated function returns: a manager that is callable, as a decorator."""

    @contextmanager
    def span(part: str, event: object) -> Generator[None]:
        yield

    return span("run", None)


@pytest.mark.parametrize(
    ("around", "words"),
    [
        (7, "list of functions"),
        ([7], "not 7"),
        ([asyncio.sleep], "coroutine function"),
        ([lambda part: None], r"f\(part, event\).*takes \(part\)"),
        ([called_span()], r"the function itself, not what it returns"),
        ([lambda part, event, *, tracer: None], "takes"),
        ([Spans.around.__wrapped__], "contextlib.contextmanager"),  # type: ignore[attr-defined]
        ([AsyncSpans.around_async.__wrapped__], "asynccontextmanager"),  # type: ignore[attr-defined]
    ],
)
def test_functions_that_give_no_manager_are_refused(
    around: Any,  # noqa: ANN401
    words: str,
    tmp_path: Path,
) -> None:
    """At once, with the remedy."""
    with pytest.raises(InvalidTypeError, match=words):
        CheckpointFlow(tmp_path / "c.pkl", around=around)
