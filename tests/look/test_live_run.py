"""A live view, made of events, is what the store has of the run afterwards."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from hearing import core_of, heard
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint import CheckpointFlow, Pause, Retry, Terminate, current_step
from aiocheckpoint._model.followers import Follower
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.events import SnapshotWritten, StepFinished, StepProgressed, StepStarted
from aiocheckpoint.look import RunView, StepView, open_store
from aiocheckpoint.look._live_runs import LiveRun

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.events import Event

State = dict[str, Any]
Outcome = Literal["ok", "fails", "cancels", "pauses", "terminates", "drains", "saver fails"]
OUTCOMES: list[Outcome] = [
    *("ok", "ok", "ok", "fails", "fails", "cancels", "pauses", "drains", "saver fails"),
    "terminates",
]
UNTOLD = {
    # What no event tells, and the clocks of two places.
    *("location", "sequence", "owner", "stale", "starts", "killed", "due", "size", "holds_data"),
    *("code", "signed_by", "verified", "sizes", "keys", "complete", "written_at", "failure"),
    *("steps", "stop", "progress", "ends_at"),
}
TOLD = [one.name for one in fields(RunView) if one.name not in UNTOLD]
STEP_FACTS = ("index", "name", "status", "seconds", "attempts", "expected")


class BrokenError(Exception):
    """A step fails."""


class StepScript(NamedTuple):
    """How the attempts at a step end, one after the other. Those behind the last are ok."""

    outcomes: tuple[Outcome, ...]
    tries: int
    has_parts: bool


SCRIPTS = st.builds(
    StepScript,
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=3).map(tuple),
    tries=st.integers(1, 3),
    has_parts=st.booleans(),
)


class Follows(Follower):
    """A display that follows a run.

    Args:
        live: The view of the run.
    """

    def __init__(self, live: LiveRun) -> None:
        self._live = live
        self.heard: list[Event] = []

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""
        self._live.follow(run)

    def hear(self, event: Event) -> None:
        """Take a rare event."""
        self.heard.append(event)
        self._live.take(event)


class Played:
    """A flow whose steps follow scripts, through any number of processes.

    Args:
        place: Its place.
        scripts: A script for each step.
        live: Hears the events.
        is_followed: Whether it hears only rare ones, and follows the run.
    """

    def __init__(
        self, place: Path, scripts: list[StepScript], live: LiveRun, *, is_followed: bool = False
    ) -> None:
        self.place, self.scripts, self.live = place, scripts, live
        self.follows = Follows(live) if is_followed else None
        self.left = [list(script.outcomes) for script in scripts]

    def flow(self, *, is_async: bool, resumed_data: bool = False) -> CheckpointFlow:
        """The flow as another process makes it."""
        hooks = [] if self.follows else [self.live.take]
        cp = CheckpointFlow(self.place, fsync=False, hooks=hooks, keep_data=resumed_data, name="f")
        for index in range(len(self.scripts)):
            self._add(cp, index, is_async=is_async)
        return cp

    def _add(self, cp: CheckpointFlow, index: int, *, is_async: bool) -> None:
        script, left = self.scripts[index], self.left[index]

        def step(state: State) -> None:
            state[f"at{index}"] = len(left)
            outcome = left[0] if left else "ok"
            if outcome != "saver fails" and left:
                left.pop(0)
            if outcome == "drains":
                cp.drain()
            ends: dict[Outcome, BaseException] = {
                "fails": BrokenError(f"step {index}, {len(left)} left"),
                "cancels": asyncio.CancelledError() if is_async else KeyboardInterrupt(),
                "pauses": Pause(f"asks {index}"),
                "terminates": Terminate(f"hopeless {index}"),
            }
            if outcome in ends:
                raise ends[outcome]

        def save(state: State) -> None:
            if left and left[0] == "saver fails":
                left.pop(0)
                raise BrokenError("saver")

        parts: dict[str, Any] = {}
        if script.has_parts:
            parts = {"load": lambda state: {"rows": [1]}, "save": save}
        if script.tries > 1:
            parts["retry"] = Retry(attempts=script.tries, on=BrokenError, wait_initial=0)
        cp.add_step(name=f"step{index}", **parts)(step)

    def execute(self, until: str | None, *, is_async: bool) -> None:
        """Execute the run once, whatever comes of it."""
        cp = self.flow(is_async=is_async)
        core = cp._core  # noqa: SLF001
        request = core.request({}, until=until)
        with suppress(BrokenError, CheckpointError, KeyboardInterrupt, asyncio.CancelledError):
            if is_async:
                asyncio.run(self._arun(core, request))
            else:
                core.run_blocking(request, None, 0.0, listener=self.follows)

    async def _arun(self, core: FlowCore, request: Request) -> None:
        backend = await core.async_backend()
        await core.run_async(backend, request, None, listener=self.follows)


def stored(place: Path) -> RunView:
    """The run as the store has it."""
    with open_store(place) as store:
        return store.run(None)


def assert_same(live: RunView, kept: RunView) -> None:
    """A live view tells what the store does, as far as it knows it."""
    assert {name: getattr(live, name) for name in TOLD} == {
        name: getattr(kept, name) for name in TOLD
    }
    assert (live.failure is None) == (kept.failure is None)
    if live.failure is not None and kept.failure is not None:
        assert replace(live.failure, at=0.0) == replace(kept.failure, at=0.0)
        assert live.failure.at == pytest.approx(kept.failure.at, abs=60)
    assert [facts_of(step) for step in live.steps] == [facts_of(step) for step in kept.steps]
    for mine, other in zip(live.steps, kept.steps, strict=True):
        if other.snapshot_bytes is not None:
            assert mine.snapshot_bytes == other.snapshot_bytes
            assert mine.snapshot_seconds == pytest.approx(other.snapshot_seconds, abs=1e-6)


def facts_of(step: StepView) -> list[Any]:
    """What both views know of a step."""
    return [getattr(step, name) for name in STEP_FACTS]


@settings(deadline=None, max_examples=30)
@given(
    scripts=st.lists(SCRIPTS, min_size=1, max_size=4),
    calls=st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 3)), min_size=1, max_size=5),
    is_followed=st.booleans(),
    name=st.sampled_from(["c.pkl", "c.db"]),
)
def test_live_view_and_store(
    tmp_path_factory: pytest.TempPathFactory,
    scripts: list[StepScript],
    calls: list[tuple[bool, int | None]],
    *,
    is_followed: bool,
    name: str,
) -> None:
    """After each end of a run the live view is that of the store, however the run has gone."""
    place = tmp_path_factory.mktemp("live") / name
    played = Played(place, scripts, LiveRun("f", None, str(place)), is_followed=is_followed)
    for is_async, until in calls:
        last = None if until is None or until >= len(scripts) else f"step{until}"
        played.execute(last, is_async=is_async)
        assert_same(played.live.view(), stored(place))
    if played.follows is not None:
        heard = {type(event) for event in played.follows.heard}
        assert heard.isdisjoint({StepStarted, StepFinished, SnapshotWritten, StepProgressed})


def test_a_further_attempt_has_said_nothing(tmp_path: Path) -> None:
    """What an attempt has said is no progress of the next one."""
    place = tmp_path / "a.pkl"
    cp, live = CheckpointFlow(place, fsync=False, name="a"), LiveRun("a", None, str(place))
    seen: list[object] = []

    @cp.add_step(retry=Retry(attempts=2, on=BrokenError, wait_initial=0))
    def ask(state: State) -> None:
        step = current_step()
        seen.append(live.view().steps[0].done)
        step.progress(5, cursor={"page": 5})
        seen.append(live.view().steps[0].done)
        if step.attempt == 1:
            raise BrokenError

    core = core_of(cp)
    core.run_blocking(core.request({}), None, 0.0, listener=Follows(live))
    assert seen == [None, 5, None, 5]


def test_a_run_that_was_left_begins_anew(tmp_path: Path) -> None:
    """Nothing of a run whose end is not told shows in the next one under the same id."""
    place = tmp_path / "a.pkl"
    cp, live = CheckpointFlow(place, fsync=False, name="a"), LiveRun("a", None, str(place))

    @cp.add_step()
    def ask(state: State) -> None:
        current_step().progress(5)

    with heard(cp) as hearing:
        cp.run({})
    started, first, *_ = events = hearing.events
    for event in events[: [type(one) for one in events].index(StepFinished) + 1]:
        live.take(event)
    assert live.view().steps[0].done == 5
    live.take(started)
    assert live.view().steps[0].done is None
    live.take(first)
    view = live.view()
    assert (view.status, view.steps[0].seconds) == ("running", None)


@pytest.mark.parametrize("loses", [False, True])
def test_notes_of_the_library_are_left_out(tmp_path: Path, loses: bool) -> None:  # noqa: FBT001
    """Of the notes that an exception gets, that on a missing key alone is stored, and seen live."""
    place = tmp_path / "a.pkl"
    cp, live = CheckpointFlow(place, fsync=False, name="a"), LiveRun("a", None, str(place))

    @cp.add_step()
    def look_up(state: State, data: State) -> None:
        if loses:  # the lock, so that the failure cannot be recorded
            (tmp_path / ".a.pkl.lock").unlink()
        data["rates"]

    with heard(cp, live.take), pytest.raises(KeyError) as info:
        cp.run({})
    notes = [note.partition(":")[2][:10] for note in info.value.__notes__]
    assert notes == [" `data` ha", *([" this fail"] * loses), " step 1 of"]
    told, header = live.view().failure, cp.header()
    assert told is not None
    assert told.traceback.count("aiocheckpoint: ") == 1
    assert "aiocheckpoint: `data` has no 'rates'" in told.traceback
    assert header is not None
    if loses:
        assert header.failure is None
    else:
        assert header.failure is not None
        assert header.failure.traceback == told.traceback
