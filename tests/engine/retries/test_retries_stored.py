"""Retries while the storage fails in between, and with every way of keeping snapshots."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Literal

import pytest
from flaky_steps import AnyStore, Flaky, after, before
from kept_snapshots import SECRET, kept_headers, kept_names
from support import Runner, State, do_nothing, notes_of

from aiocheckpoint import CheckpointFlow, Retry, UnserializableStateError, events
from aiocheckpoint.handlers._files.failpoints import armed
from aiocheckpoint.testing import MemoryStateHandler, crash_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint.events import Event, Hook

OPTIONS: dict[str, dict[str, Any]] = {
    "keep two": {"keep": 2},
    "keep all": {"keep": "all"},
    "signed": {"secret": SECRET, "keep": "all"},
    "verified": {"verify": True, "keep": 3},
}


def no_space() -> None:
    """Raise the error of a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


def at(kind: type[Event], number: int, act: Callable[[], object]) -> Hook:
    """Make a hook that acts at the n-th event of a kind."""
    seen: list[Event] = []

    def hook(event: Event) -> None:
        if isinstance(event, kind):
            seen.append(event)
            if len(seen) == number:
                act()

    return hook


def retried(
    file_store: AnyStore,
    flaky: Flaky,
    hook: Hook | None = None,
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of a reliable step, a flaky one, and another reliable one."""
    hooks = [file_store.events.append] + ([hook] if hook else [])
    cp = file_store.empty_flow(hooks=hooks, **options)
    cp.add_step(name="first")(do_nothing)
    flaky.add(cp)
    cp.add_step(name="last")(do_nothing)
    return cp


# --- the storage fails


@pytest.mark.parametrize("point", ["created", "written", "durable"])
@pytest.mark.parametrize("keep", [1, 3])
def test_failed_attempt_cannot_be_recorded(
    point: str, keep: int, file_store: AnyStore, runner: Runner
) -> None:
    """If the record of an attempt cannot be written, the next attempt is made all the same."""
    full, flaky = [True], Flaky(failures=1)

    def fail() -> None:
        if full and file_store.events_of(events.StepLoaded):
            full.clear()
            no_space()

    cp = retried(file_store, flaky, keep=keep, fsync=True)
    with armed(point, fail):
        assert runner(cp, before(), "always") == after()
    assert flaky.attempts == [1, 2]
    assert full == []
    (failed,) = file_store.events_of(events.AttemptFailed)
    assert "this failure is not recorded" in notes_of(failed.error)
    assert file_store.header().attempts == {"flaky": 2}
    assert len(set(kept_names(file_store.path))) == (0 if keep == 1 else 3)


@pytest.mark.parametrize("damage", ["deleted", "overwritten"])
def test_stored_state_is_gone(damage: str, file_store: AnyStore, runner: Runner) -> None:
    """If the stored state is gone, the step is not retried. The error is raised with its cause."""
    flaky, cause = Flaky(error=lambda: error), ValueError("the cause")
    error = ConnectionError("not yet")
    error.__cause__ = cause

    def corrupt() -> None:
        if damage == "deleted":
            file_store.path.unlink()
        else:
            file_store.path.write_bytes(b"GIF89a")

    cp = retried(file_store, flaky, at(events.AttemptFailed, 1, corrupt))
    with pytest.raises(ConnectionError) as info:
        runner(cp, before(), "always")
    assert info.value is error
    assert error.__cause__ is cause
    assert "there was no further attempt" in notes_of(error)
    assert flaky.attempts == [1]


def test_state_that_cannot_be_stored_is_not_tried_again(
    file_store: AnyStore, runner: Runner
) -> None:
    """The snapshot after a step is not part of its attempts."""
    calls: list[int] = []
    cp = file_store.empty_flow()

    @cp.add_step(retry=Retry(attempts=3, on=Exception))
    def step(state: State) -> None:
        calls.append(1)
        state["bad"] = (number for number in calls)

    with pytest.raises(UnserializableStateError):
        runner(cp, {})
    assert calls == [1]
    assert file_store.events_of(events.AttemptFailed) == []


# --- ways of keeping


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_sequence_continues(options: dict[str, Any], file_store: AnyStore, runner: Runner) -> None:
    """Snapshots after a retried step have consecutive numbers, however they are kept."""
    read = {name: value for name, value in options.items() if name != "keep"}
    assert runner(retried(file_store, Flaky(), **options), before(), "always") == after()
    headers = kept_headers(file_store.path, flow=file_store.empty_flow().name, **read)
    numbers = [header.sequence for header in headers]
    assert numbers == sorted(set(numbers))
    header = file_store.empty_flow(**options).header()
    assert header is not None
    # The start, first, two failures, flaky and last.
    assert (header.sequence, numbers[-1]) == (6, 6)
    entered = [one.next_step for one in headers]
    wanted = ["first", "flaky", "last", None]
    assert entered == (wanted if options["keep"] == "all" else wanted[-options["keep"] :])


@pytest.mark.parametrize("kind", ["file", "sqlite", "memory"])
def test_going_back_into_history(kind: str, tmp_path: Path, runner: Runner) -> None:
    """`checkpoint=` finds the kept states on entry to a retried step and after it."""
    file_store = AnyStore.at(tmp_path, kind)
    file_store.memory = MemoryStateHandler(keep="all")
    options: dict[str, Any] = {} if kind == "memory" else {"keep": "all"}
    run_id = file_store.run_id
    runner(retried(file_store, Flaky(), **options), before(), "always", run_id=run_id)
    again = Flaky(failures=1)
    cp = retried(file_store, again, **options)
    assert runner(cp, None, "always", "last", run_id=run_id) == after()
    assert again.attempts == []
    assert runner(cp, None, "always", "flaky", run_id=run_id) == after()
    assert [state for state, _ in again.entered("load")] == [before()] * 2
    header = cp.header(run_id)
    assert header is not None
    assert header.number == 1
    file_store.forget()


@pytest.mark.parametrize("runner", ["run", "arun"])
def test_any_crash_point(runner: Literal["run", "arun"]) -> None:
    """A run of a retried step that breaks off at any point ends like an undisturbed one."""

    def make_flow(path: str) -> CheckpointFlow:
        cp, flaky = CheckpointFlow(path, fsync=False), Flaky(failures=1)
        cp.add_step(name="first")(do_nothing)
        flaky.add(cp)
        return cp

    assert crash_everywhere(make_flow, before(), load_policy="always", method=runner) > 20
