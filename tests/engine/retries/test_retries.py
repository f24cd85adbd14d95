"""`retry=`: every attempt at a step begins like the first, and the change is made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flaky_steps import AT_ONCE, THRICE, AnyStore, Flaky, after, before
from support import Runner, State, do_nothing, notes_of

from aiocheckpoint import Retry, events

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow

every_part = pytest.mark.parametrize("part", ["load", "step", "save"])
sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def around(flows: AnyStore, flaky: Flaky, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow with a flaky step between two reliable ones."""
    cp = flows.empty_flow(**options)
    cp.add_step(name="first")(do_nothing)
    flaky.add(cp)
    cp.add_step(name="last")(do_nothing)
    return cp


def test_changed_once(any_store: AnyStore, any_runner: Runner) -> None:
    """A step that fails twice succeeds at the third attempt, and changes the given dict once."""
    flaky, given = Flaky(), before()
    result = any_store.go(any_runner, around(any_store, flaky), given, "always")
    assert result is given
    assert given == after()
    assert flaky.attempts == [1, 2, 3]
    assert any_store.stored() == {**after(), "checkpoint_index": 0}


@every_part
@sync_and_async
def test_each_attempt_begins_alike(
    part: str, *, asynchronous: bool, any_runner: Runner, tmp_path: Path
) -> None:
    """Each attempt has the loader's data again, and no changes of earlier attempts."""
    flows = AnyStore.at(tmp_path, "file")
    flaky, given = Flaky(part=part, asynchronous=asynchronous), before()
    assert any_runner(around(flows, flaky), given, "always") is given
    assert given == after()
    for name in ("load", "step"):
        entries = flaky.entered(name)
        assert entries == [entries[0]] * (1 if part == "save" else len(entries))
    loaded = {"deep": [{"list": ["load"]}], "load done": True}
    assert flaky.entered("step")[0] == (loaded, {"rows": [1, 2]})
    assert len(flaky.entered(part)) == 3


def test_resumed_run_is_retried(any_store: AnyStore, runner: Runner) -> None:
    """After all attempts have failed, the next run makes as many, from the same state."""
    flaky = Flaky(failures=5, part="save")
    with pytest.raises(ConnectionError):
        any_store.go(runner, around(any_store, flaky), before(), "always")
    assert any_store.stored() == {**before(), "checkpoint_index": 1}
    assert any_store.go(runner, around(any_store, flaky), None, "always") == after()
    assert flaky.entered("load") == [(before(), None)] * 2
    assert flaky.attempts == ([1, 2, 3, 4, 5, 6] if any_store.has_headers else [1, 2, 3] * 2)


def test_attempts_are_events(simple_store: AnyStore, runner: Runner) -> None:
    """The events of each attempt have its number and its result, in order."""
    simple_store.go(runner, around(simple_store, Flaky(part="save")), before(), "always")
    reported = [
        (type(event), getattr(event, "attempt", None), getattr(event, "part", None))
        for event in simple_store.events
        if isinstance(event, events.StepEvent) and event.step == "flaky"
    ]
    started, loaded, failed = events.StepStarted, events.StepLoaded, events.AttemptFailed
    first = [(started, 1, None), (loaded, None, None), (failed, 1, "save")]
    second = [(started, 2, None), (failed, 2, "save")]
    assert reported == [*first, *second, (started, 3, None), (events.StepFinished, None, None)]
    for event in simple_store.events_of(failed):
        assert (type(event.error), event.index, event.of) == (ConnectionError, 1, 3)


def test_header_holds_the_attempts(file_store: AnyStore, runner: Runner) -> None:
    """The header of the finished run holds the number of attempts at a step, and no failure."""
    cp = around(file_store, Flaky())
    file_store.go(runner, cp, before(), "always")
    header = file_store.header()
    assert (header.status, header.failure) == ("finished", None)
    assert header.attempts == {"flaky": 3}
    assert list(header.durations) == ["first", "flaky", "last"]


def test_last_error_comes_out(simple_store: AnyStore, runner: Runner) -> None:
    """After the last attempt its very error is raised with one note, and recorded."""
    errors = [ConnectionError(f"attempt {number}") for number in range(3)]
    waiting = iter(errors)
    flaky = Flaky(failures=3, error=lambda: next(waiting))
    given = before()
    with pytest.raises(ConnectionError) as info:
        simple_store.go(runner, around(simple_store, flaky), given, "always")
    assert info.value is errors[2]
    assert len(getattr(info.value, "__notes__", [])) == 1
    assert "step 2 of 3, 'flaky', broke in its part 'step'" in notes_of(info.value)
    (failed,) = simple_store.events_of(events.StepFailed)
    assert (failed.error, failed.attempt, failed.cancelled) == (errors[2], 3, False)
    assert [event.error for event in simple_store.events_of(events.AttemptFailed)] == errors
    if simple_store.has_headers:
        failure = simple_store.header().failure
        assert failure is not None
        assert (failure.attempt, failure.message) == (3, "attempt 2")
        assert simple_store.header().status == "failed"


@sync_and_async
@pytest.mark.parametrize("kind", [StopAsyncIteration, StopIteration])
def test_end_of_an_iteration(
    kind: type[Exception], *, asynchronous: bool, simple_store: AnyStore, runner: Runner
) -> None:
    """A step that raises what ends an iteration is retried, and its last error comes out."""
    flaky = Flaky(failures=3, error=kind, asynchronous=asynchronous)
    with pytest.raises((kind, RuntimeError)) as info:
        simple_store.go(runner, around(simple_store, flaky), before(), "always")
    # A coroutine cannot raise StopIteration: Python makes a RuntimeError of it.
    assert kind in {type(info.value), type(info.value.__cause__)}
    assert kind is StopIteration or type(info.value) is kind
    assert flaky.attempts == [1, 2, 3]


def test_current_step_has_the_attempt(simple_store: AnyStore, runner: Runner) -> None:
    """The attempt number increases, and the idempotency key stays the same."""
    flaky = Flaky()
    simple_store.go(runner, around(simple_store, flaky), before(), "always")
    assert [step.attempt for step in flaky.steps] == [1, 2, 3]
    assert len({step.idempotency_key for step in flaky.steps}) == 1


def test_next_step_begins_at_one(simple_store: AnyStore, runner: Runner) -> None:
    """The attempts at each step are counted from one."""
    cp, flaky, other = simple_store.empty_flow(), Flaky(), Flaky(failures=1)
    flaky.add(cp)
    other.add(cp, "other")
    simple_store.go(runner, cp, before(), "always")
    assert (flaky.attempts, other.attempts) == ([1, 2, 3], [1, 2])
    if simple_store.has_headers:
        assert simple_store.header().attempts == {"flaky": 3, "other": 2}


@pytest.mark.parametrize("until", ["flaky", 1])
def test_until_and_on(until: str | int, simple_store: AnyStore, runner: Runner) -> None:
    """A run that stops after a retried step resumes after it."""
    flaky = Flaky()
    cp = around(simple_store, flaky)
    assert simple_store.go(runner, cp, before(), "always", until=until) == after()
    assert simple_store.stored() == {**after(), "checkpoint_index": 2}
    assert simple_store.go(runner, cp) == after()
    assert flaky.attempts == [1, 2, 3]


def test_started_by_checkpoint(simple_store: AnyStore, runner: Runner) -> None:
    """A retried step chosen by `checkpoint=` begins every attempt with the same state."""
    flaky, given = Flaky(), before()
    assert simple_store.go(runner, around(simple_store, flaky), given, checkpoint="flaky") is given
    assert given == after()
    assert len(flaky.entered("load")) == 3


def test_data_of_steps_before(simple_store: AnyStore, runner: Runner) -> None:
    """Each attempt has the `data` of earlier steps, and the loader is not called."""
    cp, flaky = simple_store.empty_flow(), Flaky()

    @cp.add_step(name="fill")
    def fill(state: State, data: State) -> None:
        data["kept"] = "by hand"

    flaky.add(cp, retry=Retry(attempts=3, **AT_ONCE))
    cp.add_step(name="look")(lambda state, data: state.update(seen=sorted(data)))
    state = simple_store.go(runner, cp, before(), [False, True, False])
    assert [data for _, data in flaky.entered("step")] == [{"kept": "by hand", "rows": [1, 2]}] * 3
    assert state["seen"] == ["kept", "rows", "save done", "step done"]


def test_no_retry_where_none_is_asked_for(simple_store: AnyStore, runner: Runner) -> None:
    """`retry=` of one step does not apply to another."""
    cp, flaky = simple_store.empty_flow(), Flaky()
    cp.add_step(name="first", retry=THRICE)(do_nothing)
    flaky.add(cp, retry=None)
    with pytest.raises(ConnectionError):
        simple_store.go(runner, cp, before(), "always")
    assert flaky.attempts == [1]
    assert simple_store.events_of(events.AttemptFailed) == []
