"""Which functions may have a `timeout=`, and which seconds."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from flaky_steps import AnyStore, before
from hanging_steps import hang, limited

from aiocheckpoint import (
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    StepTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Runner, State

every_part = pytest.mark.parametrize("part", ["load", "step", "save"])


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function as decorators do."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:  # noqa: ANN401
        return function(*args)

    return wrapper


class Hanging:
    """An object whose call is a coroutine."""

    async def __call__(self, state: State) -> State:
        """Hang."""
        return await hang(state)

    async def method(self, state: State) -> State:
        """Hang."""
        return await hang(state)

    @wrapped
    async def decorated(self, state: State) -> State:
        """Hang."""
        return await hang(state)


class Decorated:
    """An object whose call is a coroutine under a decorator."""

    @wrapped
    async def __call__(self, state: State) -> State:
        """Hang."""
        return await hang(state)


async def hang_with(word: str, state: State) -> State:
    """Hang."""
    return await hang(state)


STOPPABLE: dict[str, Callable[..., Any]] = {
    "wrapped": wrapped(hang),
    "wrapped twice": wrapped(wrapped(hang)),
    "partial": functools.partial(hang_with, "word"),
    "wrapped partial": wrapped(functools.partial(hang_with, "word")),
    "partial of wrapped": functools.partial(wrapped(hang_with), "word"),
    "object": Hanging(),
    "method": Hanging().method,
    "decorated method": Hanging().decorated,
    "decorated object": Decorated(),
}


@pytest.mark.parametrize("kind", STOPPABLE)
def test_wrapped_coroutine_functions(kind: str, file_store: AnyStore, runner: Runner) -> None:
    """Coroutine functions under wrappers are stopped as well."""
    for part in ("load", "step", "save"):
        with pytest.raises(StepTimeoutError) as info:
            runner(limited(file_store, part, STOPPABLE[kind], timeout=1e-9), before(), "always")
        assert info.value.part == part


def sync(state: State) -> State:
    """Be a sync function."""
    return {}


SYNC: tuple[Callable[..., Any], ...] = (sync, wrapped(sync), functools.partial(sync), dict)


@every_part
@pytest.mark.parametrize("thread", [True, False])
def test_sync_is_refused(part: str, file_store: AnyStore, *, thread: bool) -> None:
    """What nothing can stop is refused when the step is defined, with the reason."""
    noun = {"load": "loader", "step": "step", "save": "saver"}[part]
    for function in SYNC:
        with pytest.raises(FlowDefinitionError, match=f"its {noun} .* sync function") as info:
            limited(file_store, part, function, thread=thread)
        assert info.value.step == "b"


@pytest.mark.parametrize("seconds", [0, -1, -0.5, float("nan"), float("inf"), 10**400])
def test_number_that_is_no_limit(seconds: float, file_store: AnyStore) -> None:
    """A limit that cannot be kept or meant is refused at definition."""
    with pytest.raises(InvalidValueError, match="timeout="):
        file_store.empty_flow().add_step(timeout=seconds)


@pytest.mark.parametrize("seconds", [True, "1", b"1", [1], 1j], ids=repr)
def test_no_number(seconds: Any, file_store: AnyStore) -> None:  # noqa: ANN401
    """What is no number is refused at definition."""
    with pytest.raises(InvalidTypeError, match="timeout="):
        file_store.empty_flow().add_step(timeout=seconds)
