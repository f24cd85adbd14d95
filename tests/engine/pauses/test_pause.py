"""A step raises `Pause`: the run is stored as it was on entry, and goes on when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from many import ids, resume_all
from pausing import (
    REASON,
    approvable,
    approved,
    entry,
    results,
    unapproved,
    wait_for_approval,
    wait_for_it_later,
)
from support import NAMES, Door, State
from trying import THRICE, Anywhere

from aiocheckpoint import CheckpointFlow, Pause, Retry, current_step, events

if TYPE_CHECKING:
    from pathlib import Path

every_place_in_the_flow = pytest.mark.parametrize("at", NAMES)


@every_place_in_the_flow
def test_paused_and_approved(at: str, anywhere: Anywhere, door: Door) -> None:
    """It returns the given dict as on entry, is stored so, and `update=` lets it go on."""
    given, cp = unapproved(), approvable(anywhere, at)
    assert anywhere.go(door, cp, given, "always") is given
    assert given == entry(at)
    assert anywhere.stored() == {**entry(at), "checkpoint_index": NAMES.index(at)}
    (paused,) = anywhere.told(events.StepPaused)
    assert (paused.step, paused.index, paused.of, paused.reason) == (at, NAMES.index(at), 3, REASON)
    (ended,) = anywhere.told(events.RunFinished)
    assert (ended.status, ended.position) == ("paused", NAMES.index(at))
    assert anywhere.told(events.StepFailed) == []
    if anywhere.has_headers:
        header = anywhere.header()
        assert (header.status, header.pause, header.failure) == ("paused", REASON, None)
        assert header.position == NAMES.index(at)
        result = anywhere.go(door, cp, None, "always", update={"approved": "by me"})
        assert result == approved(at)
        header = anywhere.header()
        assert (header.status, header.pause, header.number) == ("finished", None, 1)


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize("step", [wait_for_approval, wait_for_it_later], ids=["sync", "async"])
def test_every_kind_of_step(
    step: object, in_file: Anywhere, every_door: Door, *, thread: bool
) -> None:
    """Coroutines, and sync functions in a thread and on the loop, can pause."""
    assert callable(step)
    cp = approvable(in_file, step=step, thread=thread)
    assert every_door(cp, unapproved(), "always") == entry("b")
    result = every_door(cp, None, "always", update={"approved": "by me"})
    assert result == approved("b")


def test_run_again_without_update(anywhere: Anywhere, door: Door) -> None:
    """A plain run lets the step look for itself, and leaves the run paused if it waits on."""
    cp = approvable(anywhere)
    anywhere.go(door, cp, unapproved(), "always")
    for _ in range(2):
        assert anywhere.go(door, cp, None, "always") == entry("b")
    assert len(anywhere.told(events.StepPaused)) == 3
    handler = cp.handler
    if anywhere.has_headers:
        assert anywhere.header().status == "paused"
        cp.patch(anywhere.run_id, {"approved": "by me"})
        assert anywhere.header().status == "paused"
    else:
        handler.write({**handler.read(), "approved": "by me"})
    assert anywhere.go(door, cp, None, "always") == approved("b")


@pytest.mark.parametrize("kind", ["sqlite", "directory", "memory"])
def test_listed_and_left_alone(kind: str, tmp_path: Path, door: Door) -> None:
    """Lists find it, and `aresume_all` does not go on with it."""
    cp = approvable(Anywhere.at(tmp_path, kind))
    for run_id in ("one", "two"):
        door(cp, unapproved(), "always", run_id=run_id)
    assert sorted(map(str, ids(door.do(cp, "runs", "paused")))) == ["one", "two"]
    assert resume_all(cp) == {}
    door(cp, None, "always", run_id="one", update={"approved": "by me"})
    assert ids(door.do(cp, "runs", "paused")) == ["two"]
    assert ids(door.do(cp, "runs", "finished")) == ["one"]


def test_many_at_once(in_file: Anywhere) -> None:
    """Among many, a paused run is a success of its own kind."""
    cp = approvable(Anywhere.at(in_file.path.parent, "memory"))
    given = {"waits": unapproved(), "goes": {**unapproved(), "approved": "by me"}}
    found = asyncio.run(results(cp, given))
    assert (found["waits"].status, found["waits"].error) == ("paused", None)
    assert found["waits"].state == entry("b")
    assert (found["goes"].status, found["goes"].state) == ("finished", approved("b"))


async def test_in_a_stream(in_file: Anywhere) -> None:
    """A stream of events ends with those of the pause, without an error."""
    stream = approvable(in_file).astream(unapproved(), "always")
    kinds = [type(event) async for event in stream]
    assert kinds[-2:] == [events.StepPaused, events.RunFinished]


def test_once(in_file: Anywhere, door: Door) -> None:
    """With `once=True` a paused run is unfinished, and goes on; then it is done."""
    cp = approvable(in_file)
    door(cp, unapproved(), "always", once=True)
    assert door(cp, unapproved(), "always", once=True) == entry("b")
    assert door(cp, None, "always", once=True, update={"approved": "by me"}) == approved("b")
    assert door(cp, unapproved(), "always", once=True) == approved("b")
    assert len(in_file.told(events.StepPaused)) == 2


def test_words_of_the_plan(in_file: Anywhere, door: Door) -> None:
    """The plan says that the run was paused."""
    cp = approvable(in_file)
    door(cp, unapproved(), "always")
    assert "the last run was paused there" in str(door.plan(cp))


@pytest.mark.parametrize("failures", [0, 1])
def test_inside_retry(failures: int, in_file: Anywhere, door: Door) -> None:
    """A pause is no failure: nothing is tried again, whatever failed before it."""
    calls: list[int] = []

    def step(state: State, data: State) -> None:
        calls.append(1)
        if len(calls) <= failures:
            state["deep"][0].append("failed")
            raise ConnectionError
        wait_for_approval(state, data)

    cp = approvable(in_file, step=step, retry=THRICE)
    assert door(cp, unapproved(), "always") == entry("b")
    assert len(calls) == failures + 1
    header = in_file.header()
    assert (header.status, header.failure, header.pause) == ("paused", None, REASON)
    assert door(cp, None, "always", update={"approved": "by me"}) == approved("b")


@pytest.mark.parametrize("failures", [0, 1])
def test_attempts_count_on(failures: int, in_file: Anywhere, door: Door) -> None:
    """An attempt that paused was one: those of the runs that go on have the next numbers."""
    seen: list[int] = []

    def step(state: State, data: State) -> None:
        seen.append(current_step().attempt)
        if len(seen) <= failures:
            raise ConnectionError
        if len(seen) < 4:
            raise Pause(REASON)

    cp = approvable(in_file, step=step, retry=THRICE)
    door(cp, unapproved(), "always")
    while in_file.header().status == "paused":
        door(cp, None, "always", update={"n": 1})
    assert seen == [1, 2, 3, 4]
    assert in_file.header().attempts == {"b": 4}


def test_retry_on_everything(in_file: Anywhere, door: Door) -> None:
    """A function that would try anything again is not asked about a pause."""
    asked: list[Exception] = []

    def ask(error: Exception) -> bool:
        asked.append(error)
        return True

    cp = approvable(in_file, retry=Retry(on=ask))
    assert door(cp, unapproved(), "always") == entry("b")
    assert asked == []


def test_inside_another_flow(in_file: Anywhere, door: Door) -> None:
    """The pause is one of the inner run; the step around it may pause the outer one as well."""
    inner = approvable(Anywhere.at(in_file.path.parent, "memory"))

    def approve(state: State) -> None:
        header = inner.header("inner")
        paused = header is not None and header.status == "paused"
        update = {"approved": "by me"} if paused and "approved" in state else None
        got = inner.run(None if paused else unapproved(), "always", run_id="inner", update=update)
        if got["trail"][-1] != "c":
            raise Pause("the inner one waits")
        state["inner"] = got

    outer = in_file.bare()
    outer.add_step()(approve)
    assert door(outer, {"n": 1}) == {"n": 1}
    assert in_file.header().pause == "the inner one waits"
    wanted = {"n": 1, "approved": True, "inner": approved("b")}
    assert door(outer, update={"approved": True}) == wanted


def test_pause_of_a_class_of_ones_own(in_file: Anywhere, door: Door) -> None:
    """A subclass pauses as well; without a reason it is the empty one."""

    class Waits(Pause):
        """A user's own."""

    def step(state: State) -> None:
        raise Waits

    cp = CheckpointFlow(in_file.path, fsync=False)
    cp.add_step()(step)
    assert door(cp, {"n": 1}) == {"n": 1}
    assert (in_file.header().status, in_file.header().pause) == ("paused", "")


@pytest.mark.parametrize("reason", ["", "né\n\0", "\ud800", "x" * 200_000], ids=len)
def test_any_text_as_a_reason(reason: str, in_file: Anywhere, door: Door) -> None:
    """Whatever the text, it is stored; of a very long one the end."""

    def step(state: State) -> None:
        raise Pause(reason)

    cp = CheckpointFlow(in_file.path, fsync=False)
    cp.add_step()(step)
    door(cp, {})
    pause = in_file.header().pause
    assert pause is not None
    assert pause in {reason, reason[-50_000:]}
