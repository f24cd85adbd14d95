"""The conditions of a filter in SQL, by columns alone: no header is decoded.

What no column has is narrowed by what the columns have, and the headers decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._filter_columns import (
    UNFINISHED,
    error_word,
    is_in_columns,
    is_of_unfinished,
    words_of_fewer_tries,
)
from aiocheckpoint.handlers.postgres._id_patterns import id_conditions, is_exact

if TYPE_CHECKING:
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["Values", "conditions", "is_decided"]

Values = dict[str, Any]
"""The values of a statement by name."""

_HAS = "position(%({})s IN footer) > 0"


def is_decided(where: RunFilter) -> bool:
    """Whether the conditions of a filter take no other rows than the filter."""
    return is_in_columns(where) and (where.ids is None or is_exact(where.ids))


def conditions(where: RunFilter) -> tuple[list[str], Values]:
    """Give the conditions of a filter for a row of `runs`, and their values by name."""
    found: list[str] = ["status IS NOT NULL"]
    values: Values = {}
    if where.statuses is not None:
        found.append("status = ANY(%(statuses)s)")
        values["statuses"] = sorted(where.statuses)
    if is_of_unfinished(where):
        found.append(UNFINISHED)
    if where.stale:
        found.append("status = 'running'")
    if where.steps is not None:
        found.append("step = ANY(%(steps)s)")
        values["steps"] = [step.encode("utf-8", "surrogatepass") for step in sorted(where.steps)]
    for name, time, relation in (("since", where.since, ">="), ("until", where.before, "<")):
        if time is not None:
            found.append(f"written_at {relation} %({name})s")
            values[name] = float(time)
    if where.ids is not None:
        of_ids, values_of_ids = id_conditions(where.ids)
        found += of_ids
        values |= values_of_ids
    _add_words(where, found, values)
    return found, values


def _add_words(where: RunFilter, found: list[str], values: Values) -> None:
    """Add the conditions for what footers have."""
    if word := error_word(where):
        found.append(_HAS.format("word"))
        values["word"] = word.encode()
    common, fewer = words_of_fewer_tries(where)
    if common:
        names = [f"fewer{number}" for number in range(len(fewer))]
        has_one = " OR ".join(map(_HAS.format, names))
        found.append(f"NOT ({_HAS.format('common')} AND ({has_one}))")
        words = map(str.encode, (common, *fewer))
        values |= dict(zip(("common", *names), words, strict=True))
