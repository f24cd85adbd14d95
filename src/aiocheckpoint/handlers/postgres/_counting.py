"""Counts of runs, and sums of whole flows, by the columns of the table."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint.handlers._counting import day_text
from aiocheckpoint.handlers._filter_columns import UNFINISHED
from aiocheckpoint.handlers._query import id_text
from aiocheckpoint.handlers._run_filter import ALL, fits
from aiocheckpoint.handlers.postgres._conditions import conditions
from aiocheckpoint.handlers.postgres._id_patterns import UNSURE_ID, is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.postgres._conditions import Values

__all__ = ["count_statement", "counts_of"]

_FACTS: dict[CountBy, str] = {
    "status": "status",
    "step": "step",
    "day": "CASE WHEN written_at <> 0 THEN floor(written_at / 86400) END",
}
# Most runs have finished. Counted apart, they need not be grouped by facts that are the same.
_FINISHED, _NO_STEP, _NO_ID = "'finished'", "NULL::bytea", "NULL::bytea"
_OF_FINISHED: dict[CountBy, str] = {**_FACTS, "status": _FINISHED, "step": _NO_STEP}

# Grouped by the columns of an index, whose pages alone are read.
_BY_STATUS = (
    "SELECT status, NULL, count(*) FROM SCHEMA.runs "
    "WHERE flow = %(flow)s AND status IS NOT NULL GROUP BY status"
)


def count_statement(
    flow: str | bytes, facts: tuple[CountBy, ...], where: RunFilter
) -> tuple[str, Values]:
    """Give the statement that counts runs by facts that columns have, and its values.

    Args:
        flow: The flow as the table has it.
        facts: The facts, of `FACTS_OF_COLUMNS`.
        where: Chooses the runs, by columns alone.
    """
    if facts == ("status",) and where == ALL:
        return _BY_STATUS, {"flow": flow}
    found, values = conditions(where)
    values["flow"] = flow
    is_sure = where.ids is None or is_exact(where.ids)
    run_id = _NO_ID if is_sure else UNSURE_ID
    statements = [
        _statement([*(columns[fact] for fact in facts), run_id], [condition, *found])
        for columns, condition in (
            (_FACTS, UNFINISHED),
            (_OF_FINISHED, f"status = {_FINISHED}"),
        )
    ]
    return " UNION ALL ".join(statements), values


def _statement(columns: Sequence[str], found: Sequence[str]) -> str:
    groups = [column for column in columns if column not in {_FINISHED, _NO_STEP, _NO_ID}]
    chosen = " AND ".join(("flow = %(flow)s", *found))
    grouped = f" GROUP BY {', '.join(groups)}" if groups else ""
    return f"SELECT {', '.join(columns)}, count(*) FROM SCHEMA.runs WHERE {chosen}{grouped}"  # noqa: S608


def counts_of(
    rows: Iterable[Sequence[Any]], facts: tuple[CountBy, ...], where: RunFilter
) -> Counts:
    """Give the number of runs by the values of some facts, from the rows of that statement."""
    counts: Counter[tuple[str | None, ...]] = Counter()
    for *found, run_id, count in rows:
        if count and (run_id is None or fits(id_text(run_id) or None, where.ids or "")):
            pairs = zip(facts, found, strict=True)
            counts[tuple(_value(fact, one) for fact, one in pairs)] += count
    return dict(counts)


def _value(fact: CountBy, stored: Any) -> str | None:  # noqa: ANN401 - as a column has it
    if stored is None or fact == "status":
        return cast("str | None", stored)
    if fact == "step":
        return id_text(stored)
    return day_text(int(stored)) if math.isfinite(stored) else None
