"""What the columns of a database can decide of a filter, whatever its dialect of SQL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = [
    "FACTS_OF_COLUMNS",
    "UNFINISHED",
    "Stretch",
    "error_word",
    "id_prefix",
    "is_in_columns",
    "is_of_unfinished",
    "is_pattern",
    "stretches_of_due_runs",
    "words_of_fewer_tries",
]

UNFINISHED = "status <> 'finished'"
"""A database uses a partial index only where the condition repeats its words."""

FACTS_OF_COLUMNS: frozenset[str] = frozenset(("status", "step", "day"))
"""The facts that runs are counted by without their headers."""

_IN_COLUMNS: dict[str, Any] = {
    name: getattr(ALL, name) for name in ("statuses", "steps", "ids", "since", "before")
}
"""The attributes of a filter that columns decide, with the values that choose every run. All others
are decided by headers."""

_NO_ATTEMPTS, _NO_FAILURE, _FAILED_AT = '"attempts":{}', '"failure":null', '"attempt":{}}}'
"""What a header says as this library writes it. In a text of JSON, the quotes would be escaped."""
_MOST_COUNTED = 10

_WORD = re.compile(r"[A-Za-z0-9_.]+")
_SPECIAL = re.compile(r"[*?[]")


def is_in_columns(where: RunFilter) -> bool:
    """Whether the columns of a run, its id included, decide whether a filter chooses it."""
    return where._replace(**_IN_COLUMNS) == ALL


def is_of_unfinished(where: RunFilter) -> bool:
    """Whether a filter chooses no finished run."""
    if where.statuses is not None and "finished" not in where.statuses:
        return True
    needs_step = where.steps is not None or where.tries is not None
    return needs_step or where.error is not None or where.stale


def is_pattern(ids: str) -> bool:
    """Whether a pattern of ids may fit several."""
    return _SPECIAL.search(ids) is not None


def id_prefix(ids: str | None) -> str:
    """The text that all ids of a pattern begin with. Empty for none, or for a single id."""
    found = None if ids is None else _SPECIAL.search(ids)
    return "" if found is None or ids is None else ids[: found.start()]


def error_word(where: RunFilter) -> str:
    """A text that is in the footers of all runs with the error asked for. Empty for none.

    A type whose last part fits the pattern has the text as well. JSON has it as it is.
    """
    pattern = where.error or ""
    return max(_WORD.findall(pattern.partition("[")[0]), key=len, default="")


def words_of_fewer_tries(where: RunFilter) -> tuple[str, tuple[str, ...]]:
    """Texts in the footers of runs with fewer tries than are asked for.

    Returns:
        A text that all have, and texts of which each has one. Empty where all runs are chosen.
    """
    if where.tries is None or where.tries <= 1:
        return "", ()
    most = min(where.tries, _MOST_COUNTED)
    return _NO_ATTEMPTS, (_NO_FAILURE, *(_FAILED_AT.format(tries) for tries in range(1, most)))


class Stretch(NamedTuple):
    """A stretch of the index of due runs, in whose order its runs are due.

    Attributes:
        status: The status of its runs.
        condition: The condition for the time from which they are due.
        is_by_time: Whether they are ordered by that time, and else by the time they began.
    """

    status: str
    condition: str
    is_by_time: bool = False


def stretches_of_due_runs(due: str, before: str) -> list[Stretch]:
    """Give the stretches that have all due runs: what `due_at` decides, in SQL.

    Args:
        due: The time from which a run is due in SQL, see `due_column`. NULL where it has begun, or
            where 0.5 has stored it.
        before: The time of the query in SQL.
    """
    at_once = "stopped", "failed", "cancelled"
    since = f"{due} > 0.0 AND {due} <= {before}"
    return [
        *(Stretch(one, f"{due} IS NULL") for one in ("queued", "running", *at_once)),
        *(Stretch(one, f"{due} = 0.0") for one in ("queued", "paused", *at_once)),
        *(
            Stretch(one, since, is_by_time=True)
            for one in ("queued", "paused", "failed", "cancelled")
        ),
        # A run that is claimed keeps its time until the first snapshot.
        Stretch("running", f"{due} >= 0.0"),
    ]
