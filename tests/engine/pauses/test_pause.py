"""A step raises `Pause`: the run is stored as it was on entry, and continues with `update=`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from approval_flows import (
    REASON,
    approvable,
    approved,
    entry,
    results,
    unapproved,
    wait_for_approval,
    wait_for_it_later,
)
from flaky_steps import THRICE, AnyStore
from run_factories import ids, resume_all
from support import NAMES, Runner, State

from aiocheckpoint import CheckpointFlow, Pause, Retry, current_step, events

if TYPE_CHECKING:
    from pathlib import Path

every_place_in_the_flow = pytest.mark.parametrize("at", NAMES)


@every_place_in_the_flow
def test_paused_and_approved(at: str, any_store: AnyStore, runner: Runner) -> None:
    """A paused run returns the given dict as on entry, is stored so, and continues by `update=`."""
    given, cp = unapproved(), approvable(any_store, at)
    assert any_store.go(runner, cp, given, "always") is given
    assert given == entry(at)
    assert any_store.stored() == {**entry(at), "checkpoint_index": NAMES.index(at)}
    (paused,) = any_store.events_of(events.StepPaused)
    assert (paused.step, paused.index, paused.of, paused.reason) == (at, NAMES.index(at), 3, REASON)
    (ended,) = any_store.events_of(events.RunFinished)
    assert (ended.status, ended.position) == ("paused", NAMES.index(at))
    assert any_store.events_of(events.StepFailed) == []
    if any_store.has_headers:
        header = any_store.header()
        assert (header.status, header.pause, header.failure) == ("paused", REASON, None)
        assert header.position == NAMES.index(at)
        result = any_store.go(runner, cp, None, "always", update={"approved": "by me"})
        assert result == approved(at)
        header = any_store.header()
        assert (header.status, header.pause, header.number) == ("finished", None, 1)


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize("step", [wait_for_approval, wait_for_it_later], ids=["sync", "async"])
def test_every_kind_of_step(
    step: object, file_store: AnyStore, any_runner: Runner, *, thread: bool
) -> None:
    """Coroutines, and sync functions in a thread or on the loop, can pause."""
    assert callable(step)
    cp = approvable(file_store, step=step, thread=thread)
    assert any_runner(cp, unapproved(), "always") == entry("b")
    result = any_runner(cp, None, "always", update={"approved": "by me"})
    assert result == approved("b")


def test_run_again_without_update(any_store: AnyStore, runner: Runner) -> None:
    """A plain run executes the step again, and stays paused if the step pauses again."""
    cp = approvable(any_store)
    any_store.go(runner, cp, unapproved(), "always")
    for _ in range(2):
        assert any_store.go(runner, cp, None, "always") == entry("b")
    assert len(any_store.events_of(events.StepPaused)) == 3
    handler = cp.handler
    if any_store.has_headers:
        assert any_store.header().status == "paused"
        cp.patch({"approved": "by me"}, run_id=any_store.run_id)
        assert any_store.header().status == "paused"
    else:
        handler.write({**handler.read(), "approved": "by me"})
    assert any_store.go(runner, cp, None, "always") == approved("b")


@pytest.mark.parametrize("kind", ["sqlite", "directory", "memory"])
def test_listed_and_left_alone(kind: str, tmp_path: Path, runner: Runner) -> None:
    """Lists contain a paused run, and `aresume_all` skips it."""
    cp = approvable(AnyStore.at(tmp_path, kind))
    for run_id in ("one", "two"):
        runner(cp, unapproved(), "always", run_id=run_id)
    assert sorted(map(str, ids(runner.do(cp, "runs", "paused")))) == ["one", "two"]
    assert resume_all(cp) == {}
    runner(cp, None, "always", run_id="one", update={"approved": "by me"})
    assert ids(runner.do(cp, "runs", "paused")) == ["two"]
    assert ids(runner.do(cp, "runs", "finished")) == ["one"]


def test_many_at_once(file_store: AnyStore) -> None:
    """Among many runs, a paused run counts as a success with the status "paused"."""
    cp = approvable(AnyStore.at(file_store.path.parent, "memory"))
    given = {"waits": unapproved(), "goes": {**unapproved(), "approved": "by me"}}
    found = asyncio.run(results(cp, given))
    assert (found["waits"].status, found["waits"].error) == ("paused", None)
    assert found["waits"].state == entry("b")
    assert (found["goes"].status, found["goes"].state) == ("finished", approved("b"))


async def test_in_a_stream(file_store: AnyStore) -> None:
    """A stream of events ends with the events of the pause, without an error."""
    stream = approvable(file_store).astream(unapproved(), "always")
    kinds = [type(event) async for event in stream]
    assert kinds[-2:] == [events.StepPaused, events.RunFinished]


def test_once(file_store: AnyStore, runner: Runner) -> None:
    """With `once=True` a paused run is unfinished and continues. Afterwards it is finished."""
    cp = approvable(file_store)
    runner(cp, unapproved(), "always", once=True)
    assert runner(cp, unapproved(), "always", once=True) == entry("b")
    assert runner(cp, None, "always", once=True, update={"approved": "by me"}) == approved("b")
    assert runner(cp, unapproved(), "always", once=True) == approved("b")
    assert len(file_store.events_of(events.StepPaused)) == 2


def test_words_of_the_plan(file_store: AnyStore, runner: Runner) -> None:
    """The text of the plan says that the run was paused."""
    cp = approvable(file_store)
    runner(cp, unapproved(), "always")
    assert "the last run was paused there (pause 1" in str(runner.plan(cp))


@pytest.mark.parametrize("failures", [0, 1])
def test_inside_retry(failures: int, file_store: AnyStore, runner: Runner) -> None:
    """A pause is no failure. It ends the retries, whatever failed before it."""
    calls: list[int] = []

    def step(state: State, data: State) -> None:
        calls.append(1)
        if len(calls) <= failures:
            state["deep"][0].append("failed")
            raise ConnectionError
        wait_for_approval(state, data)

    cp = approvable(file_store, step=step, retry=THRICE)
    assert runner(cp, unapproved(), "always") == entry("b")
    assert len(calls) == failures + 1
    header = file_store.header()
    assert (header.status, header.failure, header.pause) == ("paused", None, REASON)
    assert runner(cp, None, "always", update={"approved": "by me"}) == approved("b")


@pytest.mark.parametrize("failures", [0, 1])
def test_attempts_count_on(failures: int, file_store: AnyStore, runner: Runner) -> None:
    """A paused attempt counts. Later runs continue with the next attempt numbers."""
    seen: list[int] = []

    def step(state: State, data: State) -> None:
        seen.append(current_step().attempt)
        if len(seen) <= failures:
            raise ConnectionError
        if len(seen) < 4:
            raise Pause(REASON)

    cp = approvable(file_store, step=step, retry=THRICE)
    runner(cp, unapproved(), "always")
    while file_store.header().status == "paused":
        runner(cp, None, "always", update={"n": 1})
    assert seen == [1, 2, 3, 4]
    assert file_store.header().attempts == {"b": 4}


def test_retry_on_everything(file_store: AnyStore, runner: Runner) -> None:
    """`Retry(on=...)` is not asked about a pause, even if it would retry any exception."""
    asked: list[Exception] = []

    def ask(error: Exception) -> bool:
        asked.append(error)
        return True

    cp = approvable(file_store, retry=Retry(on=ask))
    assert runner(cp, unapproved(), "always") == entry("b")
    assert asked == []


def test_inside_another_flow(file_store: AnyStore, runner: Runner) -> None:
    """The pause belongs to the inner run. The step around it may pause the outer run as well."""
    inner = approvable(AnyStore.at(file_store.path.parent, "memory"))

    def approve(state: State) -> None:
        header = inner.header("inner")
        paused = header is not None and header.status == "paused"
        update = {"approved": "by me"} if paused and "approved" in state else None
        got = inner.run(None if paused else unapproved(), "always", run_id="inner", update=update)
        if got["trail"][-1] != "c":
            raise Pause("the inner one waits")
        state["inner"] = got

    outer = file_store.empty_flow()
    outer.add_step()(approve)
    assert runner(outer, {"n": 1}) == {"n": 1}
    assert file_store.header().pause == "the inner one waits"
    wanted = {"n": 1, "approved": True, "inner": approved("b")}
    assert runner(outer, update={"approved": True}) == wanted


def test_pause_of_a_class_of_ones_own(file_store: AnyStore, runner: Runner) -> None:
    """A subclass of `Pause` pauses as well. Its default reason is empty."""

    class Waits(Pause):
        """A user's own subclass of `Pause`."""

    def step(state: State) -> None:
        raise Waits

    cp = CheckpointFlow(file_store.path, fsync=False)
    cp.add_step()(step)
    assert runner(cp, {"n": 1}) == {"n": 1}
    assert (file_store.header().status, file_store.header().pause) == ("paused", "")


@pytest.mark.parametrize("reason", ["", "né\n\0", "\ud800", "x" * 200_000], ids=len)
def test_any_text_as_a_reason(reason: str, file_store: AnyStore, runner: Runner) -> None:
    """Any text is stored as the reason. Of a very long text the end is stored."""

    def step(state: State) -> None:
        raise Pause(reason)

    cp = CheckpointFlow(file_store.path, fsync=False)
    cp.add_step()(step)
    runner(cp, {})
    pause = file_store.header().pause
    assert pause is not None
    assert pause in {reason, reason[-50_000:]}
