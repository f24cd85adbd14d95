"""Retries where the storage fails in between, and in every way of keeping snapshots."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Literal

import pytest
from keeping import SECRET, kept_headers, kept_names
from support import Door, State, do_nothing, notes_of
from trying import Anywhere, Flaky, after, before

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
    """Be the system whose disk is full."""
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
    in_file: Anywhere,
    flaky: Flaky,
    hook: Hook | None = None,
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of a sound step, a flaky one, and another sound one."""
    hooks = [in_file.events.append] + ([hook] if hook else [])
    cp = in_file.bare(hooks=hooks, **options)
    cp.add_step(name="first")(do_nothing)
    flaky.add(cp)
    cp.add_step(name="last")(do_nothing)
    return cp


# --- the storage fails


@pytest.mark.parametrize("point", ["created", "written", "durable"])
@pytest.mark.parametrize("keep", [1, 3])
def test_failed_attempt_cannot_be_recorded(
    point: str, keep: int, in_file: Anywhere, door: Door
) -> None:
    """Where the record of an attempt cannot be written, the next one is made all the same."""
    full, flaky = [True], Flaky(failures=1)

    def fail() -> None:
        if full and in_file.told(events.StepLoaded):
            full.clear()
            no_space()

    cp = retried(in_file, flaky, keep=keep, fsync=True)
    with armed(point, fail):
        assert door(cp, before(), "always") == after()
    assert flaky.attempts == [1, 2]
    assert full == []
    (failed,) = in_file.told(events.AttemptFailed)
    assert "does not tell of this" in notes_of(failed.error)
    assert in_file.header().attempts == {"flaky": 2}
    assert len(set(kept_names(in_file.path))) == (0 if keep == 1 else 3)


@pytest.mark.parametrize("damage", ["deleted", "overwritten"])
def test_stored_state_is_gone(damage: str, in_file: Anywhere, door: Door) -> None:
    """What cannot begin anew is not tried again: the error comes out, its cause as it was."""
    flaky, cause = Flaky(error=lambda: error), ValueError("the cause")
    error = ConnectionError("not yet")
    error.__cause__ = cause

    def spoil() -> None:
        if damage == "deleted":
            in_file.path.unlink()
        else:
            in_file.path.write_bytes(b"GIF89a")

    cp = retried(in_file, flaky, at(events.AttemptFailed, 1, spoil))
    with pytest.raises(ConnectionError) as info:
        door(cp, before(), "always")
    assert info.value is error
    assert error.__cause__ is cause
    assert "there was no further attempt" in notes_of(error)
    assert flaky.attempts == [1]


def test_state_that_cannot_be_stored_is_not_tried_again(in_file: Anywhere, door: Door) -> None:
    """The snapshot behind a step is no part of its attempts."""
    calls: list[int] = []
    cp = in_file.bare()

    @cp.add_step(retry=Retry(attempts=3, on=Exception))
    def step(state: State) -> None:
        calls.append(1)
        state["bad"] = (number for number in calls)

    with pytest.raises(UnserializableStateError):
        door(cp, {})
    assert calls == [1]
    assert in_file.told(events.AttemptFailed) == []


# --- ways of keeping


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_sequence_goes_on(options: dict[str, Any], in_file: Anywhere, door: Door) -> None:
    """However snapshots are kept, those behind a retried step are numbered on, each once."""
    read = {name: value for name, value in options.items() if name != "keep"}
    assert door(retried(in_file, Flaky(), **options), before(), "always") == after()
    headers = kept_headers(in_file.path, flow=in_file.bare().name, **read)
    numbers = [header.sequence for header in headers]
    assert numbers == sorted(set(numbers))
    header = in_file.bare(**options).header()
    assert header is not None
    # The start, first, two failures, flaky and last.
    assert (header.sequence, numbers[-1]) == (6, 6)
    entered = [one.next_step for one in headers]
    wanted = ["first", "flaky", "last", None]
    assert entered == (wanted if options["keep"] == "all" else wanted[-options["keep"] :])


@pytest.mark.parametrize("kind", ["file", "sqlite", "memory"])
def test_going_back_into_history(kind: str, tmp_path: Path, door: Door) -> None:
    """The state on entry to a retried step can be gone back to, and so can the one behind it."""
    in_file = Anywhere.at(tmp_path, kind)
    in_file.memory = MemoryStateHandler(keep="all")
    options: dict[str, Any] = {} if kind == "memory" else {"keep": "all"}
    run_id = in_file.run_id
    door(retried(in_file, Flaky(), **options), before(), "always", run_id=run_id)
    again = Flaky(failures=1)
    cp = retried(in_file, again, **options)
    assert door(cp, None, "always", "last", run_id=run_id) == after()
    assert again.attempts == []
    assert door(cp, None, "always", "flaky", run_id=run_id) == after()
    assert [state for state, _ in again.entered("load")] == [before()] * 2
    header = cp.header(run_id)
    assert header is not None
    assert header.number == 1
    in_file.forget()


@pytest.mark.parametrize("door", ["run", "arun"])
def test_any_crash_point(door: Literal["run", "arun"]) -> None:
    """Wherever a run of a retried step is broken off, it ends as an undisturbed one."""

    def make_flow(path: str) -> CheckpointFlow:
        cp, flaky = CheckpointFlow(path, fsync=False), Flaky(failures=1)
        cp.add_step(name="first")(do_nothing)
        flaky.add(cp)
        return cp

    assert crash_everywhere(make_flow, before(), load_policy="always", door=door) > 20
