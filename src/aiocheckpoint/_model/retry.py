"""Which failures of a step are retried, how often, and after which pauses."""

import importlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, cast

from aiocheckpoint._model.checks import checked_count, checked_number
from aiocheckpoint._tracebacks import add_front_doors, calls_user_code
from aiocheckpoint.errors import (
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
)

__all__ = ["Retry", "RetryOn", "RetryState", "checked_retry"]

RetryOn = (
    type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool | float | timedelta]
)
"""The exceptions that are retried: a class, several, or a function that decides for each exception.

The function returns whether to retry, or the pause before it in seconds or as a timedelta.
"""

_WAITS = ("wait_initial", "wait_max", "wait_jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The retry policy of a step. The package `stamina` does the waiting.

    Each attempt begins with the state and the `data` on entry to the step, and calls the loader if
    the first attempt did. A saver that raises is called again alone, with the state as it was when
    the step ended, so that the step's work is not repeated. That counts as an attempt. Where the
    state cannot be pickled then, or the attempt took `current_step().connection()`, the whole step
    is repeated. Global settings of `stamina`, such as
    `stamina.set_testing`, apply.

    The pause after attempt number n takes `wait_initial * wait_exp_base ** (n - 1)` seconds, plus a
    random time of up to `wait_jitter`. It takes no longer than `wait_max` in all. Names and
    defaults are the ones of `stamina.retry`.

    Attributes:
        on: The exceptions that are retried, see `RetryOn`. By default every `Exception`.
            Cancellations, `Pause` and errors in the definition of the flow are never retried.
        attempts: The most attempts, the first included. None for any number.
        timeout: Seconds from the start of the first attempt, for a saver from the end of its step.
            A later failure is not retried. None for no such limit. The argument `timeout=` of the
            step limits one attempt.
        wait_initial: The first pause, in seconds or as a timedelta.
        wait_max: The longest pause.
        wait_jitter: The longest random time that is added to a pause.
        wait_exp_base: The factor from one pause to the next.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is of the wrong type, or out of range.
    """

    on: RetryOn = Exception
    attempts: int | None = 10
    timeout: float | timedelta | None = 45.0
    wait_initial: float | timedelta = 0.1
    wait_max: float | timedelta = 5.0
    wait_jitter: float | timedelta = 1.0
    wait_exp_base: float = 2.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        _check_on(self.on)
        if self.attempts is not None:
            _check_attempts(self.attempts)
        if self.timeout is not None:
            _check_timeout(self.timeout)
        if self.attempts is None and self.timeout is None:
            raise InvalidValueError(
                "Retry(attempts=None, timeout=None) would try for ever; give one of the two."
            )
        for name in _WAITS:
            _check_seconds(f"{name}=", getattr(self, name))
        _check_number("wait_exp_base=", self.wait_exp_base, "a number")


add_front_doors(Retry)


class RetryState:
    """The attempts at one step in one run.

    Args:
        policy: The policy of the step.
        name: The name for the log records and metrics of `stamina`.
        run_id: The run's id for its log records, or None. No label of a metric has it.
    """

    def __init__(self, policy: Retry, name: str, run_id: str | None) -> None:
        stamina = _stamina()
        self._on, self._began = policy.on, time.perf_counter()
        self._seconds = _seconds_of(policy.timeout)
        self._verdict: bool | float | timedelta = False
        context: Any = stamina.retry_context(
            on=lambda _: self._verdict,
            attempts=policy.attempts,
            timeout=None,  # `is_over` knows it: stamina cannot start its clock again for a saver.
            wait_initial=policy.wait_initial,
            wait_max=policy.wait_max,
            wait_jitter=policy.wait_jitter,
            wait_exp_base=policy.wait_exp_base,
        )
        keywords = {} if run_id is None else {"run_id": run_id}
        # Otherwise its records are about "<context block>". The method is none of its public ones.
        named: Any = getattr(context, "with_name", None)
        self._context: Any = context if named is None else named(name, (), keywords)

    # `stamina` has no public way to wait otherwise. Its own waits cannot be ended: those of a
    # thread not at all, also not by a signal handler. Tried with 25.2 and 26.1. A release without
    # these attributes would wait to the end.

    def in_thread(self, sleep: Callable[[float], None]) -> Iterator[AbstractContextManager[None]]:
        """Give a context manager for each attempt, and wait in this thread between them.

        Where no attempt is left, the exception is raised that the last context manager got.

        Args:
            sleep: Waits so many seconds, or until the run is to stop.
        """
        keywords = getattr(self._context, "_t_kw", None)
        if isinstance(keywords, dict):
            keywords["sleep"] = sleep
        return iter(self._context)

    def on_loop(
        self, sleep: Callable[[float], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the same for `async for`, and wait on the running loop."""
        attempts: AsyncIterator[AbstractContextManager[None]] = aiter(self._context)
        retrying: Any = getattr(self._context, "_t_a_retrying", None)
        if hasattr(retrying, "sleep"):
            retrying.sleep = sleep
        return _BegunAttempts(attempts)

    @calls_user_code
    def should_retry(self, error: Exception) -> bool:
        """Decide whether `error`, which is raised in an attempt next, is retried.

        Raises:
            InvalidValueError: The user's function returned a number that is no time.
            Exception: The user's function raised it.
        """
        if isinstance(error, FlowDefinitionError):
            self._verdict = False
        elif isinstance(self._on, (type, tuple)):
            self._verdict = isinstance(error, self._on)
        else:
            verdict: Any = self._on(error)
            known = isinstance(verdict, (bool, int, float, timedelta))
            self._verdict = verdict if known else bool(verdict)
            if not isinstance(self._verdict, bool):
                _check_seconds("the return value of on=, ", self._verdict)
        return self._verdict is not False

    def is_over(self, since: float | None = None) -> bool:
        """Whether the time for further attempts is over.

        Args:
            since: When the time began, by `time.perf_counter`. By default at the first attempt.
        """
        began = self._began if since is None else since
        return self._seconds is not None and time.perf_counter() - began >= self._seconds


class _BegunAttempts:
    """Attempts that `async for` does not begin anew, as it does where it asks `stamina` itself."""

    def __init__(self, attempts: AsyncIterator[AbstractContextManager[None]]) -> None:
        self._attempts = attempts

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[AbstractContextManager[None]]:
        return anext(self._attempts)


def checked_retry(retry: object) -> Retry:
    """Give the policy that `retry=` means: itself, or one with that number of attempts.

    Raises:
        InvalidTypeError, InvalidValueError: It is no policy and no number of attempts.
        MissingExtraError: `stamina` is not installed.
    """
    if isinstance(retry, int) and not isinstance(retry, bool):
        retry = Retry(attempts=retry)
    if not isinstance(retry, Retry):
        raise InvalidTypeError(
            f"retry= is a number of attempts or an aiocheckpoint.Retry, not a "
            f"{type(retry).__name__}."
        )
    _stamina()
    return retry


def _stamina() -> Any:  # noqa: ANN401 - a module that may be missing
    try:
        return importlib.import_module("stamina")
    except ImportError as error:
        missing = error.name or "stamina"
        install = "pip install 'aiocheckpoint[retry]'"
        raise MissingExtraError("retry=", missing, install) from error


def _check_on(on: object) -> None:
    kinds = cast("tuple[object, ...]", on) if isinstance(on, tuple) else (on,)
    if callable(on) and not isinstance(on, type):
        return
    if not kinds or not all(isinstance(one, type) and issubclass(one, Exception) for one in kinds):
        raise InvalidTypeError(
            f"on={on!r}: the exceptions to retry are a class of Exception, a tuple of such "
            "classes, or a function of one exception."
        )


def _check_attempts(attempts: object) -> None:
    first_counts = "the first attempt counts, so there is at least 1"
    checked_count("attempts=", attempts, "a number of attempts or None", too_small=first_counts)


def _check_timeout(timeout: float | timedelta) -> None:
    _check_seconds("timeout=", timeout)
    if not timeout:
        raise InvalidValueError(
            f"timeout={timeout!r} of a Retry would try nothing again: give a positive number of "
            "seconds, or None for no such limit."
        )


def _seconds_of(timeout: float | timedelta | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def _check_seconds(what: str, seconds: object) -> None:
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    _check_number(what, seconds, "a number of seconds or a timedelta")


def _check_number(what: str, number: object, meaning: str) -> None:
    if not 0 <= checked_number(what, number, meaning) <= sys.float_info.max:
        raise InvalidValueError(f"{what}{number!r}: it is {meaning}, from 0 on.")
