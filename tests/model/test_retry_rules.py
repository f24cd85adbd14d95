"""What is tried again and how often: `Retry`, and what `stamina` is told globally."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import stamina
from support import Door, notes_of
from trying import A_LONG_TIME, AT_ONCE, Anywhere, Flaky, after, before

from aiocheckpoint import FlowDefinitionError, InvalidValueError, Pause, Retry, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEVER: dict[str, Callable[[], BaseException]] = {
    "cancellation": asyncio.CancelledError,
    "Ctrl-C": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "BaseException": lambda: BaseException("own kind"),
}
LISTED: dict[str, Any] = {
    "class": OSError,
    "classes": (ValueError, OSError),
    "predicate": lambda error: isinstance(error, OSError),
    "truthy": lambda error: "yes" if isinstance(error, OSError) else None,
    "seconds": lambda error: isinstance(error, OSError) and 0.0,
    "whole seconds": lambda error: isinstance(error, OSError) and 0,
    "timedelta": lambda error: isinstance(error, OSError) and timedelta(0),
}


@pytest.fixture
def global_settings() -> Iterator[None]:
    """Put back what `stamina` is told globally."""
    yield
    stamina.set_active(True)
    stamina.set_testing(False)


def tried(in_file: Anywhere, door: Door, flaky: Flaky, retry: int | Retry) -> int:
    """Run one flaky step, and give the number of attempts; what it raises comes out."""
    cp = in_file.bare()
    flaky.add(cp, retry=retry)
    door(cp, before(), "always")
    return len(flaky.attempts)


# --- which errors


@pytest.mark.parametrize("kind", NEVER)
@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_never_tried_again(kind: str, part: str, in_file: Anywhere, door: Door) -> None:
    """What is no `Exception` ends the run at once, whoever raised it."""
    error = NEVER[kind]()
    flaky = Flaky(part=part, error=lambda: error)
    with pytest.raises(type(error)) as info:
        tried(in_file, door, flaky, 3)
    assert info.value is error
    assert flaky.attempts == [1]
    assert "'flaky'" in notes_of(error)
    assert in_file.stored() == {**before(), "checkpoint_index": 0}
    assert in_file.told(events.AttemptFailed) == []


@pytest.mark.parametrize("on", LISTED.values(), ids=LISTED)
def test_what_is_listed_is_tried_again(on: Any, in_file: Anywhere, door: Door) -> None:  # noqa: ANN401
    """By class, classes or a function; and the first error of another kind ends it."""
    errors = iter([OSError("one"), ConnectionError("two"), KeyError("three")])
    flaky = Flaky(failures=3, error=lambda: next(errors))
    with pytest.raises(KeyError, match="three"):
        tried(in_file, door, flaky, Retry(on=on, **AT_ONCE))
    assert flaky.attempts == [1, 2, 3]
    assert in_file.stored() == {**before(), "checkpoint_index": 0}
    (failed,) = in_file.told(events.StepFailed)
    assert (failed.attempt, len(in_file.told(events.AttemptFailed))) == (3, 2)


def test_stop_iteration_is_tried_again(in_file: Anywhere, door: Door) -> None:
    """A StopIteration, which no coroutine can raise, is an `Exception` like others."""
    assert tried(in_file, door, Flaky(error=StopIteration), Retry(attempts=3, **AT_ONCE)) == 3


def test_pause_of_a_loader_is_not_tried_again(in_file: Anywhere, door: Door) -> None:
    """What is wrong in the definition of the flow stays so, however often it is tried."""
    flaky = Flaky(part="load", error=lambda: Pause("no"))
    with pytest.raises(FlowDefinitionError, match="only a step may pause"):
        tried(in_file, door, flaky, Retry(attempts=3, **AT_ONCE))
    assert flaky.attempts == [1]


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), timedelta(-1)], ids=repr)
def test_hook_that_tells_no_time(seconds: Any, in_file: Anywhere, door: Door) -> None:  # noqa: ANN401
    """A time to wait that is none ends the run with an error of ours, from the user's."""
    flaky = Flaky()
    with pytest.raises(InvalidValueError, match="return value of on=") as info:
        tried(in_file, door, flaky, Retry(on=lambda _: seconds))
    assert type(info.value.__context__) is ConnectionError
    assert flaky.attempts == [1]


def test_hook_that_raises(in_file: Anywhere, door: Door) -> None:
    """What the function of `on=` raises comes out, and tells what it was asked about."""

    def decide(error: Exception) -> bool:
        raise LookupError from None

    with pytest.raises(LookupError) as info:
        tried(in_file, door, Flaky(), Retry(on=decide))
    assert type(info.value.__context__) is ConnectionError
    assert "'flaky'" in notes_of(info.value)
    assert in_file.stored() == {**before(), "checkpoint_index": 0}


# --- how often


@pytest.mark.usefixtures("global_settings")
@pytest.mark.parametrize("retry", [2, Retry(attempts=2, **AT_ONCE)], ids=["number", "Retry"])
def test_number_of_attempts(retry: int | Retry, in_file: Anywhere, door: Door) -> None:
    """The number counts the first attempt."""
    stamina.set_testing(True, attempts=100, cap=True)
    flaky = Flaky(failures=9)
    with pytest.raises(ConnectionError):
        tried(in_file, door, flaky, retry)
    assert flaky.attempts == [1, 2]


def test_one_attempt(in_file: Anywhere, door: Door) -> None:
    """One attempt is none more than without `retry=`."""
    with pytest.raises(ConnectionError):
        tried(in_file, door, Flaky(), 1)
    assert in_file.header().status == "failed"


@pytest.mark.parametrize("seconds", [1e-9, timedelta(microseconds=1)], ids=["number", "timedelta"])
def test_time_for_all_attempts(seconds: float | timedelta, in_file: Anywhere, door: Door) -> None:
    """What fails when the time for all attempts is over is not tried again."""
    flaky = Flaky(failures=1000)
    with pytest.raises(ConnectionError):
        tried(in_file, door, flaky, Retry(attempts=None, timeout=seconds, **AT_ONCE))
    assert flaky.attempts == [1]


# --- what stamina is told


@pytest.mark.usefixtures("global_settings")
def test_inactive(in_file: Anywhere, door: Door) -> None:
    """Where `stamina` is switched off, nothing is tried again."""
    stamina.set_active(False)
    flaky = Flaky()
    with pytest.raises(ConnectionError):
        tried(in_file, door, flaky, 3)
    assert flaky.attempts == [1]
    assert in_file.header().status == "failed"


@pytest.mark.usefixtures("global_settings")
def test_testing(in_file: Anywhere, door: Door) -> None:
    """Where `stamina` is told that it is tested, nothing is waited for."""
    stamina.set_testing(True, attempts=3)
    flaky = Flaky()
    long = Retry(attempts=9, wait_initial=A_LONG_TIME, wait_max=A_LONG_TIME)
    assert tried(in_file, door, flaky, long) == 3
    assert tried(in_file, door, Flaky(), Retry(on=lambda _: A_LONG_TIME)) == 3
    assert in_file.stored() == {**after(), "checkpoint_index": 0}
