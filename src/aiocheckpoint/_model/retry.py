"""Which failures of a step are tried again, how often, and with what pauses in between."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

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
"""What is tried again: an exception class, several, or a function that decides for each exception.

The function returns whether, or after how many seconds or which timedelta, to try again.
"""

_WAITS = ("wait_initial", "wait_max", "wait_jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a step is tried again when it fails; waiting is done by the package `stamina`.

    Each attempt begins with the state as it was on entry to the step, with `data` filled as it
    was, and with its loader where that ran. What `stamina` is told globally, as by
    `stamina.set_testing`, holds here too.

    The pause after attempt number n takes `wait_initial * wait_exp_base ** (n - 1)` seconds, plus a
    random time of up to `wait_jitter`, and no longer than `wait_max` in all, as documented by
    `stamina.retry`, whose names and defaults these are.

    Attributes:
        on: What is tried again, see `RetryOn`; by default every `Exception`. Cancellations, `Pause`
            and what is wrong in the definition of the flow never are.
        attempts: The most attempts, the first included; None for any number.
        timeout: What fails later than this after the first attempt began, in seconds, is not tried
            again; None for no such limit. How long one attempt may take is told by `timeout=` of
            the step.
        wait_initial: The first pause, in seconds or as a timedelta.
        wait_max: The longest pause.
        wait_jitter: The most that is added to a pause at random.
        wait_exp_base: By how much each pause is longer than the one before.

    Raises:
        InvalidTypeError, InvalidValueError: An argument cannot be meant.
    """

    on: RetryOn = Exception
    attempts: int | None = 10
    timeout: float | timedelta | None = 45.0
    wait_initial: float | timedelta = 0.1
    wait_max: float | timedelta = 5.0
    wait_jitter: float | timedelta = 1.0
    wait_exp_base: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
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


class RetryState:
    """The attempts at one step in one run.

    Attributes:
        context: Made by `stamina`; gives one context manager for each attempt, by `for` or
            `async for`, and waits before all but the first. An exception that is raised in one is
            raised again by the iteration when there is no further attempt.
    """

    def __init__(self, policy: Retry) -> None:
        stamina = _stamina()
        self._on = policy.on
        self._verdict: bool | float | timedelta = False
        self.context: Any = stamina.retry_context(
            on=lambda _: self._verdict,
            attempts=policy.attempts,
            timeout=policy.timeout,
            wait_initial=policy.wait_initial,
            wait_max=policy.wait_max,
            wait_jitter=policy.wait_jitter,
            wait_exp_base=policy.wait_exp_base,
        )

    def should_retry(self, error: Exception) -> bool:
        """Decide whether `error`, which is raised in an attempt next, is tried again.

        Raises:
            InvalidValueError: The user's function told a time that is none.
            Exception: What that function raised.
        """
        if isinstance(error, FlowDefinitionError):
            self._verdict = False
        elif isinstance(self._on, (type, tuple)):
            self._verdict = isinstance(error, self._on)
        else:
            verdict: Any = self._on(error)
            told = isinstance(verdict, (bool, int, float, timedelta))
            self._verdict = verdict if told else bool(verdict)
            if not isinstance(self._verdict, bool):
                _check_seconds("what on= returns, ", self._verdict)
        return self._verdict is not False


def checked_retry(retry: object) -> Retry:
    """Give the policy that `retry=` means: itself, or as many attempts as the number says.

    Raises:
        InvalidTypeError, InvalidValueError: It cannot be meant.
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
            f"on={on!r}: what is tried again is told by a class of Exception, a tuple of them, or "
            "a function of one exception."
        )


def _check_attempts(attempts: object) -> None:
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        kind = type(attempts).__name__
        raise InvalidTypeError(f"attempts= is a number of attempts or None, not a {kind}.")
    if attempts < 1:
        raise InvalidValueError(
            f"attempts={attempts!r}: the first attempt counts, so there is at least 1."
        )


def _check_timeout(timeout: float | timedelta) -> None:
    _check_seconds("timeout=", timeout)
    if not timeout:
        raise InvalidValueError(
            f"timeout={timeout!r} of a Retry would try nothing again: give a positive number of "
            "seconds, or None for no such limit."
        )


def _check_seconds(what: str, seconds: object) -> None:
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    _check_number(what, seconds, "a number of seconds or a timedelta")


def _check_number(what: str, number: object, meant: str) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise InvalidTypeError(f"{what} is {meant}, not a {type(number).__name__}.")
    if not 0 <= number <= sys.float_info.max:
        raise InvalidValueError(f"{what}{number!r}: it is {meant}, from 0 on.")
