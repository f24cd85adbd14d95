"""Queries for `aruns` and `aprune`, made from their arguments."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.header import Header
from aiocheckpoint._runs.filters import checked_statuses
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["listing_query", "pruning_query"]


def listing_query(where: RunFilter, limit: object, after: object) -> Query:
    """Make the query of `aruns`.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    most = None if limit is None else checked_limit(limit)
    # Handlers for releases before 0.6 look at `statuses` alone.
    return Query(where.statuses, most, _checked_after(after), where=where)


def pruning_query(
    older_than: object, status: Status | Collection[Status], names: StepNames
) -> Query:
    """Make the query of `aprune`, for a flow whose steps have these names.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    seconds = _age(older_than)
    if not 0 <= seconds < float("inf"):
        raise InvalidValueError(f"older_than={older_than!r}: an age in seconds is from 0 on.")
    return Query(checked_statuses(status), written_before=time.time() - seconds, names=names)


def _age(older_than: object) -> float:
    if isinstance(older_than, timedelta):
        return older_than.total_seconds()
    if isinstance(older_than, (int, float)) and not isinstance(older_than, bool):
        return older_than
    kind = type(older_than).__name__
    raise InvalidTypeError(f"older_than is a number of seconds or a timedelta, not a {kind}.")


def _checked_after(after: Any) -> Header | None:  # noqa: ANN401
    if after is None or isinstance(after, Header):
        return after
    raise InvalidTypeError(
        f"after= is the last header of the page before, not a {type(after).__name__}."
    )
