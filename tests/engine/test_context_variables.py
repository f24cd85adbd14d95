"""Context variables: as if all functions of a run were awaited in the caller's task."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aiocheckpoint import CheckpointFlow, Pause, Retry, events

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from support import Runner, State

SEEN: ContextVar[object] = ContextVar("SEEN", default="nothing")
OTHER: ContextVar[object] = ContextVar("OTHER")


class Odd:
    """Equal to everything, and without a truth value, as an array is."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> Any:  # noqa: ANN401
        raise ValueError("the truth value is ambiguous")


def flow_of(path: Path, *parts: Callable[..., Any], **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of one step for each function."""
    cp = CheckpointFlow(path / "c.pkl", **options)
    for number, part in enumerate(parts):
        cp.add_step(name=f"step {number}")(part)
    return cp


def seen_behind(runner: Runner, cp: CheckpointFlow, var: ContextVar[object] = SEEN) -> object:
    """Run a flow, and give the variable's value for its caller, in the caller's own context."""

    async def awaited() -> object:
        with contextlib.suppress(OSError):
            await cp.arun()
        return var.get("nothing")

    async def notebook() -> object:
        return called()

    def called() -> object:
        with contextlib.suppress(OSError):
            cp.run()
        return var.get("nothing")

    if runner.name == "run":
        return contextvars.copy_context().run(called)
    return asyncio.run(awaited() if runner.name == "arun" else notebook())


def setter(value: object, *, is_async: bool) -> Callable[..., Any]:
    """Make a function that sets the variable, sync or async."""

    def sets(state: State) -> None:
        SEEN.set(value)

    async def asets(state: State) -> None:
        SEEN.set(value)

    return asets if is_async else sets


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_step_sets_is_seen_afterwards(
    any_runner: Runner, tmp_path: Path, *, is_async: bool
) -> None:
    """Later steps of both kinds and the caller see the very value."""
    value, seen = Odd(), list[object]()

    async def looks(state: State) -> None:
        seen.append(SEEN.get())

    def looks_too(state: State) -> None:
        seen.append(SEEN.get())

    cp = flow_of(tmp_path, setter(value, is_async=is_async), looks, looks_too)
    seen.append(seen_behind(any_runner, cp))
    assert all(one is value for one in seen)
    assert len(seen) == 3
    assert SEEN.get() == "nothing"


def test_an_equal_value_that_is_another_object_is_seen(runner: Runner, tmp_path: Path) -> None:
    """A list that is changed later must be the one that the function has set."""
    made: list[object] = []

    async def first(state: State) -> None:
        SEEN.set([])

    def second(state: State) -> None:
        made.append([])
        SEEN.set(made[0])

    assert seen_behind(runner, flow_of(tmp_path, first, second)) is made[0]


def test_loader_step_and_saver_see_what_the_part_before_has_set(
    any_runner: Runner, tmp_path: Path
) -> None:
    """Every part sees the value of the part before it, though each has a thread of its own."""
    seen: list[object] = []

    def part(state: State, data: State | None = None) -> Any:  # noqa: ANN401
        seen.append(SEEN.get())
        SEEN.set(len(seen))
        return {} if len(seen) == 1 else None

    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(load=part, save=part, name="a")(part)
    assert seen_behind(any_runner, cp) == 3
    assert seen == ["nothing", 1, 2]


def test_what_a_failed_function_has_set_is_seen_by_the_next_attempt(
    any_runner: Runner, tmp_path: Path
) -> None:
    """An exception hides nothing, as in one task."""
    seen: list[object] = []

    def fails_once(state: State) -> None:
        seen.append(SEEN.get())
        SEEN.set(len(seen))
        if len(seen) == 1:
            raise OSError

    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(retry=Retry(attempts=2, wait_initial=0, wait_jitter=0))(fails_once)
    assert seen_behind(any_runner, cp) == 2
    assert seen == ["nothing", 1]


async def seen_behind_a_cancellation(
    cp: CheckpointFlow, begun: threading.Event, go: threading.Event
) -> object:
    """Cancel a run in its sync step, let the step end, and give what the caller sees then."""

    async def caller() -> object:
        with pytest.raises(asyncio.CancelledError):
            await cp.arun()
        return SEEN.get()

    task = asyncio.create_task(caller())
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    return await task


def test_a_cancelled_sync_step_leaves_what_it_has_set(tmp_path: Path) -> None:
    """The cancellation waits for the thread, and the caller sees its value."""
    begun, go = threading.Event(), threading.Event()

    def slow(state: State) -> None:
        begun.set()
        go.wait(5)
        SEEN.set("set behind the cancellation")

    cp = flow_of(tmp_path, slow)

    assert asyncio.run(seen_behind_a_cancellation(cp, begun, go)) == "set behind the cancellation"


def test_a_step_changes_only_what_it_has_set_itself(tmp_path: Path) -> None:
    """Another task in the same context may set variables while a thread works."""
    begun, go = threading.Event(), threading.Event()

    def slow(state: State) -> None:
        begun.set()
        go.wait(5)
        OTHER.set("by the step")

    cp = flow_of(tmp_path, slow)
    context = contextvars.copy_context()

    async def beside() -> None:
        await asyncio.to_thread(begun.wait, 5)
        SEEN.set("by the neighbour")
        go.set()

    async def main() -> None:
        run = asyncio.get_running_loop().create_task(cp.arun(), context=context)
        neighbour = asyncio.get_running_loop().create_task(beside(), context=context)
        await asyncio.gather(run, neighbour)

    asyncio.run(main())
    assert (context[SEEN], context[OTHER]) == ("by the neighbour", "by the step")


def test_coroutines_of_a_run_share_one_context(tmp_path: Path) -> None:
    """Under `run`, one async step resets what another has set, and sync steps see both."""
    tokens: list[Token[object]] = []
    seen: list[object] = []

    async def sets(state: State) -> None:
        tokens.append(OTHER.set("once"))

    async def resets(state: State) -> None:
        OTHER.reset(tokens.pop())

    def looks(state: State) -> None:
        seen.append(OTHER.get("absent"))

    cp = flow_of(tmp_path, looks, sets, looks, resets, looks, sets, looks, resets, looks)
    assert contextvars.copy_context().run(cp.run) == {}
    assert seen == ["absent", "once", "absent", "once", "absent"]


def test_a_sync_step_resets_what_coroutines_have_seen(tmp_path: Path) -> None:
    """A variable that is taken out of the caller's context is out of the coroutines' as well."""
    tokens: list[Token[object]] = []
    seen: list[object] = []

    def sets(state: State) -> None:
        tokens.append(OTHER.set("once"))

    def resets(state: State) -> None:
        OTHER.reset(tokens.pop())

    async def looks(state: State) -> None:
        seen.append(OTHER.get("absent"))

    cp = flow_of(tmp_path, looks, sets, looks, resets, looks)
    contextvars.copy_context().run(cp.run)
    assert seen == ["absent", "once", "absent"]


class Spans:
    """A hook that opens a span at the start of each attempt, and closes it at its end."""

    def __init__(self) -> None:
        self.tokens: list[Token[object]] = []
        self.closed: list[str] = []

    def __call__(self, event: events.Event) -> None:
        """Open or close a span. `reset` raises in another context than that of the start."""
        kind = type(event).__name__
        if kind == "StepStarted":
            self.tokens.append(SEEN.set("in the span"))
        elif kind in {"StepFinished", "AttemptFailed", "StepFailed", "StepPaused"}:
            if not self.tokens:
                return  # The last attempt of a step has both events.
            SEEN.reset(self.tokens.pop())
            self.closed.append(kind)

    async def awaited(self, event: events.Event) -> None:
        """Do the same in a hook that waits."""
        await asyncio.sleep(0)
        self(event)


def fails(state: State) -> None:
    """Fail."""
    raise OSError


def pauses(state: State) -> None:
    """Pause."""
    raise Pause("waiting")


CANCELS: list[Callable[[], object]] = []
"""How the step that hangs has itself cancelled."""


async def hangs(state: State) -> None:
    """Wait to be cancelled, and be cancelled."""
    asyncio.get_running_loop().call_later(0.01, CANCELS.pop())
    await anyio.sleep_forever()


async def cancelled_natively(cp: CheckpointFlow) -> object:
    """Run a flow that is cancelled by its task."""
    task = asyncio.current_task()
    assert task is not None
    CANCELS.append(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await cp.arun()
    return SEEN.get()


async def cancelled_by_a_scope(cp: CheckpointFlow) -> object:
    """Run a flow that is cancelled by a scope of anyio."""
    with anyio.CancelScope() as scope:
        CANCELS.append(scope.cancel)
        await cp.arun()
    return SEEN.get()


@pytest.mark.parametrize("awaited", [False, True], ids=["sync hook", "async hook"])
@pytest.mark.parametrize("cancelled", [cancelled_natively, cancelled_by_a_scope])
def test_hooks_of_a_cancelled_step_are_in_the_context_of_its_start(
    cancelled: Callable[[CheckpointFlow], Coroutine[Any, Any, object]],
    tmp_path: Path,
    *,
    awaited: bool,
) -> None:
    """The caller's context is the same as before the run."""
    spans = Spans()
    cp = flow_of(tmp_path, hangs, hooks=[spans.awaited if awaited else spans])
    assert asyncio.run(cancelled(cp)) == "nothing"
    assert spans.closed == ["StepFailed"]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync hook", "async hook"])
@pytest.mark.parametrize("step", [fails, pauses])
def test_hooks_of_a_step_that_breaks_are_in_the_context_of_its_start(
    step: Callable[[State], None], any_runner: Runner, tmp_path: Path, *, awaited: bool
) -> None:
    """So are those of failed attempts."""
    spans = Spans()
    cp = CheckpointFlow(tmp_path / "c.pkl", hooks=[spans.awaited if awaited else spans])
    cp.add_step(retry=Retry(attempts=2, wait_initial=0, wait_jitter=0))(step)
    cp.add_step(name="last")(lambda state: None)
    assert seen_behind(any_runner, cp) == "nothing"
    expected = ["StepPaused"] if step is pauses else ["AttemptFailed", "AttemptFailed"]
    assert spans.closed == expected


def test_hook_of_the_snapshot_behind_a_late_cancellation(tmp_path: Path) -> None:
    """A hook of a snapshot that is written through a cancellation is in the run's context."""
    begun, go = threading.Event(), threading.Event()

    def slow(state: State) -> None:
        begun.set()
        go.wait(5)

    def hook(event: events.Event) -> None:
        if isinstance(event, events.SnapshotWritten) and event.position == 1:
            SEEN.set("written")

    cp = flow_of(tmp_path, slow, lambda state: None, hooks=[hook])

    assert asyncio.run(seen_behind_a_cancellation(cp, begun, go)) == "written"
