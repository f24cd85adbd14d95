"""Checks of filters, for every state handler: lists, their pages, and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.header import Failure
from aiocheckpoint.handlers._counting import count_headers
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import RunFilter
from aiocheckpoint.testing._checking import emptied, must, store

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint.handlers import CountBy, StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["FILTER_CHECKS"]

_BEGAN = 1_000_000_000.0
_NAMES = ("reserve", "charge")
_RUNS: dict[str | None, tuple[Status, int, str | None]] = {
    None: ("running", 0, None),
    "order-1": ("failed", 1, "builtins.ValueError"),
    "order-20": ("failed", 1, "httpx.ConnectTimeout"),
    "order-3": ("failed", 0, "httpx.ConnectTimeout"),
    "Order-4": ("running", 1, None),
    "caf\u00e9": ("paused", 1, None),
    "\ud800": ("queued", 0, None),
    "order-5": ("finished", 0, None),
}
"""Status, position and error by run id."""

_FILTERS: dict[str, RunFilter] = {
    "all": RunFilter(),
    "statuses": RunFilter(statuses=frozenset({"failed", "paused"})),
    "steps": RunFilter(steps=frozenset({"charge"})),
    "error": RunFilter(error="*Timeout"),
    "error without its module": RunFilter(error="ConnectTimeout"),
    "error with a choice": RunFilter(error="[a-c]*.?alueError"),
    "ids": RunFilter(ids="order-?"),
    "ids with a choice": RunFilter(ids="[oO]rder-[!1]"),
    "ids of any text": RunFilter(ids="*"),
    "ids of one run": RunFilter(ids="\ud800"),
    "since and before": RunFilter(since=_BEGAN + 12.0, before=_BEGAN + 16.0),
    "tries": RunFilter(tries=2),
    "stale": RunFilter(stale=True),
    "several": RunFilter(frozenset({"failed"}), frozenset({"charge"}), "httpx.*", "order-*"),
    "none": RunFilter(ids="order-1", steps=frozenset({"reserve"})),
}


def _stored(handler: StateHandler) -> None:
    """Store the runs, the first one as the oldest."""
    for number, (run_id, (status, position, error)) in enumerate(_RUNS.items()):
        facts: dict[str, Any] = {
            "started_at": _BEGAN + number,
            "written_at": _BEGAN + 10.0 + number,
            "position": position,
            "steps": _NAMES,
            "failure": None if error is None else _failure(_NAMES[position], error, number),
        }
        store(handler, run_id, status, **facts)


def _failure(step: str, kind: str, attempt: int) -> Failure:
    texts = {"part": "step", "message": "httpx.ConnectTimeout", "traceback": ""}
    return Failure(step=step, type=kind, **texts, at=_BEGAN, seconds=0.0, attempt=attempt)


def check_filtered_list(make: Make) -> None:
    """A list has the runs that its filter chooses, in order, whole and by pages."""
    with emptied(make, *_RUNS) as handler:
        _stored(handler)
        with make().locked("Order-4"):
            headers = make().runs(Query())
            for name, where in _FILTERS.items():
                expected = list(filter(where.wants, headers))
                query = Query(where=where)
                must(make().runs(query) == expected, f"a list has the runs chosen by {name}")
                paged = [*_paged(make, query._replace(limit=2))]
                must(paged == expected, f"pages have the runs chosen by {name}")


def check_filtered_counts(make: Make) -> None:
    """The runs that a filter chooses are counted, by one fact and by several."""
    facts: tuple[tuple[CountBy, ...], ...] = (("status",), ("status", "step", "day"), ("error",))
    with emptied(make, *_RUNS) as handler:
        _stored(handler)
        headers = make().runs(Query())
        for name, where in _FILTERS.items():
            chosen = list(filter(where.wants, headers))
            must(make().count(where=where) == len(chosen), f"count() counts those of {name}")
            for by in facts:
                counts = count_headers(chosen, by)
                must(make().count(by, where) == counts, f"count(by={by}) counts those of {name}")


def _paged(make: Make, query: Query) -> Generator[Header, None, None]:
    for _ in range(len(_RUNS) + 1):
        page = make().runs(query)
        must(len(page) <= (query.limit or 0), "no page is longer than limit= says")
        if not page:
            return
        yield from page
        query = query._replace(after=page[-1])
    must(holds=False, rule="pages come to an end")


FILTER_CHECKS: tuple[Check, ...] = (check_filtered_list, check_filtered_counts)
"""Each check is called with `make`, see `check_handler`."""
