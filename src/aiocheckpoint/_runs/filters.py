"""The filter of runs that a user asks for, made from the arguments of a public method."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Any, Unpack, cast, get_args

from aiocheckpoint._model.checks import checked_count, checked_flag
from aiocheckpoint._model.header import Status
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._run_filter import FilterOptions, RunFilter

__all__ = ["checked_statuses", "run_filter"]

_SEVERAL = (list, tuple, set, frozenset)


def run_filter(status: object, **options: Unpack[FilterOptions]) -> RunFilter:
    """Make the filter of a public method from `status=` and `FilterOptions`.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is unknown or invalid, or no run can fit
            all of them.
    """
    for name in options:
        if name not in FilterOptions.__annotations__:
            known = ", ".join(f"{one}=" for one in ("status", *FilterOptions.__annotations__))
            raise InvalidTypeError(f"{name}= is no argument here. Runs are chosen by {known}.")
    now = time.time()
    tries = options.get("tries")
    where = RunFilter(
        checked_statuses(status),
        _checked_steps(options.get("step")),
        _checked_error(options.get("error")),
        _checked_pattern("ids", options.get("ids")),
        _checked_time("since", options.get("since"), now),
        _checked_time("before", options.get("before"), now),
        None if tries is None else checked_count("tries=", tries, "a number of attempts"),
        checked_flag("stale", options.get("stale", False)),
    )
    _check_possible(where, status)
    return where


def _check_possible(where: RunFilter, status: object) -> None:
    if where.contradiction == "times":
        raise InvalidValueError(
            "since= is not earlier than before=, so that no run fits both. since= is the first "
            "moment, and before= the one behind the last."
        )
    if where.contradiction == "stale":
        raise InvalidValueError(
            f"stale=True chooses runs that are shown as running, and status={status!r} leaves "
            "them out. Take one of the two away."
        )


def checked_statuses(status: Any) -> frozenset[Status] | None:  # noqa: ANN401
    """Give the statuses that a user asks for, one or several, or None for all.

    Raises:
        InvalidTypeError, InvalidValueError: It is something else.
    """
    if status is None:
        return None
    if not isinstance(status, (str, *_SEVERAL)):
        raise InvalidTypeError(
            f"status= is a status or several of them, not a {type(status).__name__}."
        )
    several = cast("list[Status]", [status] if isinstance(status, str) else list(status))
    if not several or any(one not in get_args(Status) for one in several):
        known = ", ".join(repr(one) for one in get_args(Status))
        raise InvalidValueError(f"status={status!r} is no status. Known are {known}.")
    return frozenset(several)


def _checked_steps(step: Any) -> frozenset[str] | None:  # noqa: ANN401
    if step is None:
        return None
    several = [step] if isinstance(step, str) else step
    if not isinstance(several, _SEVERAL) or not all(isinstance(one, str) for one in several):
        raise InvalidTypeError(f"step= is the name of a step, or a list of names, not {step!r}.")
    if not several or not all(several):
        raise InvalidValueError(f"step={step!r} has no name of a step. Leave it out for all steps.")
    return frozenset(several)


def _checked_pattern(name: str, pattern: object) -> str | None:
    if pattern is None:
        return None
    if not isinstance(pattern, str):
        raise InvalidTypeError(
            f"{name}= is a pattern such as {_EXAMPLES[name]!r}, not a {type(pattern).__name__}."
        )
    if not pattern:
        raise InvalidValueError(f"{name}= is empty, which fits nothing. Leave it out for all.")
    return str.__str__(pattern)


_EXAMPLES = {"ids": "order-*", "error": "TimeoutError"}


def _checked_error(error: object) -> str | None:
    if isinstance(error, type):
        kind = f"{error.__module__}.{error.__qualname__}"
        raise InvalidTypeError(
            f"error= is a pattern for the name of a type, not the type itself. Give {kind!r}."
        )
    return _checked_pattern("error", error)


def _checked_time(name: str, given: object, now: float) -> float | None:
    """The moment that a user means by `since=` or `before=`, in seconds since the epoch."""
    match given:
        case None:
            return None
        case timedelta() if given >= timedelta(0):
            return now - given.total_seconds()
        case timedelta():
            raise InvalidValueError(
                f"{name}={given!r} is in the future. A timedelta counts back from now on, as in "
                "timedelta(hours=2)."
            )
        case datetime() if given.utcoffset() is not None:
            return given.timestamp()
        case datetime():
            raise InvalidValueError(
                f"{name}= is a time without a zone, so it could be any of 24 hours. Give it one, "
                "as by given.astimezone() for the zone of this machine."
            )
        case bool():
            pass
        case int() | float() if math.isfinite(given):
            return float(given)
        case int() | float():
            raise InvalidValueError(f"{name}={given!r} is no moment. Leave it out for all.")
        case _:
            pass
    raise InvalidTypeError(
        f"{name}= is a timedelta before now, a datetime with a time zone, or a number of seconds "
        f"since the epoch, not a {type(given).__name__}."
    )
