"""Which failures are retried and how often: `Retry`, and the global settings of `stamina`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import stamina
from flaky_steps import A_LONG_TIME, AT_ONCE, AnyStore, Flaky, after, before
from support import Runner, notes_of

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


async def test_private_parts_of_stamina() -> None:
    """The attributes by which a sleep can be ended are there, in the release that is installed."""
    context: Any = stamina.retry_context(on=ValueError, attempts=2)
    assert isinstance(context._t_kw, dict), "RetryState.in_thread sets its `sleep`"  # noqa: SLF001
    aiter(context)
    retrying = context._t_a_retrying  # noqa: SLF001
    assert hasattr(retrying, "sleep"), "RetryState.on_loop sets it"


@pytest.fixture
def global_settings() -> Iterator[None]:
    """Restore the global settings of `stamina`."""
    yield
    stamina.set_active(True)
    stamina.set_testing(False)


def tried(file_store: AnyStore, runner: Runner, flaky: Flaky, retry: int | Retry) -> int:
    """Run one flaky step, and give the number of attempts, or raise its error."""
    cp = file_store.empty_flow()
    flaky.add(cp, retry=retry)
    runner(cp, before(), "always")
    return len(flaky.attempts)


# --- which errors


@pytest.mark.parametrize("kind", NEVER)
@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_never_tried_again(kind: str, part: str, file_store: AnyStore, runner: Runner) -> None:
    """An exception that is no `Exception` ends the run at once, in any part."""
    error = NEVER[kind]()
    flaky = Flaky(part=part, error=lambda: error)
    with pytest.raises(type(error)) as info:
        tried(file_store, runner, flaky, 3)
    assert info.value is error
    assert flaky.attempts == [1]
    assert "'flaky'" in notes_of(error)
    assert file_store.stored() == {**before(), "checkpoint_index": 0}
    assert file_store.events_of(events.AttemptFailed) == []


@pytest.mark.parametrize("on", LISTED.values(), ids=LISTED)
def test_what_is_listed_is_tried_again(on: Any, file_store: AnyStore, runner: Runner) -> None:  # noqa: ANN401
    """`on=` is a class, classes or a function. The first error of another kind ends the run."""
    errors = iter([OSError("one"), ConnectionError("two"), KeyError("three")])
    flaky = Flaky(failures=3, error=lambda: next(errors))
    with pytest.raises(KeyError, match="three"):
        tried(file_store, runner, flaky, Retry(on=on, **AT_ONCE))
    assert flaky.attempts == [1, 2, 3]
    assert file_store.stored() == {**before(), "checkpoint_index": 0}
    (failed,) = file_store.events_of(events.StepFailed)
    assert (failed.attempt, len(file_store.events_of(events.AttemptFailed))) == (3, 2)


def test_stop_iteration_is_tried_again(file_store: AnyStore, runner: Runner) -> None:
    """A StopIteration, which no coroutine can raise, is an `Exception` like others."""
    assert tried(file_store, runner, Flaky(error=StopIteration), Retry(attempts=3, **AT_ONCE)) == 3


def test_pause_of_a_loader_is_not_tried_again(file_store: AnyStore, runner: Runner) -> None:
    """An error in the definition of the flow is not retried."""
    flaky = Flaky(part="load", error=lambda: Pause("no"))
    with pytest.raises(FlowDefinitionError, match="only a step may pause"):
        tried(file_store, runner, flaky, Retry(attempts=3, **AT_ONCE))
    assert flaky.attempts == [1]


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), timedelta(-1)], ids=repr)
def test_hook_that_gives_no_time(seconds: Any, file_store: AnyStore, runner: Runner) -> None:  # noqa: ANN401
    """An invalid delay from `on=` is an error of ours, with the step's error as its context."""
    flaky = Flaky()
    with pytest.raises(InvalidValueError, match="return value of on=") as info:
        tried(file_store, runner, flaky, Retry(on=lambda _: seconds))
    assert type(info.value.__context__) is ConnectionError
    assert flaky.attempts == [1]


def test_hook_that_raises(file_store: AnyStore, runner: Runner) -> None:
    """An exception of `on=` is raised, with the step's error as its context."""

    def decide(error: Exception) -> bool:
        raise LookupError from None

    with pytest.raises(LookupError) as info:
        tried(file_store, runner, Flaky(), Retry(on=decide))
    assert type(info.value.__context__) is ConnectionError
    assert "'flaky'" in notes_of(info.value)
    assert file_store.stored() == {**before(), "checkpoint_index": 0}


# --- how often


@pytest.mark.usefixtures("global_settings")
@pytest.mark.parametrize("retry", [2, Retry(attempts=2, **AT_ONCE)], ids=["number", "Retry"])
def test_number_of_attempts(retry: int | Retry, file_store: AnyStore, runner: Runner) -> None:
    """The number of attempts includes the first."""
    stamina.set_testing(True, attempts=100, cap=True)
    flaky = Flaky(failures=9)
    with pytest.raises(ConnectionError):
        tried(file_store, runner, flaky, retry)
    assert flaky.attempts == [1, 2]


def test_one_attempt(file_store: AnyStore, runner: Runner) -> None:
    """`retry=1` makes one attempt, as without `retry=`."""
    with pytest.raises(ConnectionError):
        tried(file_store, runner, Flaky(), 1)
    assert file_store.header().status == "failed"


@pytest.mark.parametrize("seconds", [1e-9, timedelta(microseconds=1)], ids=["number", "timedelta"])
def test_time_for_all_attempts(
    seconds: float | timedelta, file_store: AnyStore, runner: Runner
) -> None:
    """A failure after the total timeout is not retried."""
    flaky = Flaky(failures=1000)
    with pytest.raises(ConnectionError):
        tried(file_store, runner, flaky, Retry(attempts=None, timeout=seconds, **AT_ONCE))
    assert flaky.attempts == [1]


# --- global settings of stamina


@pytest.mark.usefixtures("global_settings")
def test_inactive(file_store: AnyStore, runner: Runner) -> None:
    """If `stamina` is deactivated, nothing is retried."""
    stamina.set_active(False)
    flaky = Flaky()
    with pytest.raises(ConnectionError):
        tried(file_store, runner, flaky, 3)
    assert flaky.attempts == [1]
    assert file_store.header().status == "failed"


@pytest.mark.usefixtures("global_settings")
def test_testing(file_store: AnyStore, runner: Runner) -> None:
    """If `stamina` is in testing mode, retries do not wait."""
    stamina.set_testing(True, attempts=3)
    flaky = Flaky()
    long = Retry(attempts=9, wait_initial=A_LONG_TIME, wait_max=A_LONG_TIME)
    assert tried(file_store, runner, flaky, long) == 3
    assert tried(file_store, runner, Flaky(), Retry(on=lambda _: A_LONG_TIME)) == 3
    assert file_store.stored() == {**after(), "checkpoint_index": 0}
