"""The conditions of a filter in SQL, by columns alone: no header is decoded.

What no column has is narrowed by what the columns have, and the headers decide. Conditions on run
ids stand in the indexes of lists, so that rows of other ids are not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._filter_columns import (
    UNFINISHED,
    error_word,
    is_in_columns,
    is_of_unfinished,
    is_pattern,
    words_of_fewer_tries,
)
from aiocheckpoint.handlers.sqlite._text import sql_text

if TYPE_CHECKING:
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = [
    "BY_IDS_IN_RANGE",
    "IDS_IN_RANGE",
    "UNSURE_ID",
    "conditions",
    "is_decided",
    "prefix_values",
]

Values = dict[str, Any]
"""The values of a statement by name."""

IDS_IN_RANGE = (
    "SELECT id FROM runs WHERE flow = :flow AND run_id >= :id_from AND run_id < :id_to "
    "UNION ALL SELECT id FROM runs WHERE flow = :flow AND run_id >= x''"
)
"""The rows of the runs whose ids begin with a text, found by the index of ids. Ids that are no
valid UTF-8 are stored as bytes, which come behind all texts. All of them are among the rows."""

BY_IDS_IN_RANGE = " NOT INDEXED"
"""Behind the name of the table: its rows are found by their numbers. SQLite would not choose so."""

_LONGEST_GLOB, _MOST_STARS = 1000, 2
"""SQLite tries all ways to fit a pattern, which takes long for many stars."""
_NO_GLOB = re.compile(r"\[!?+\]?+[^]]*\]|[\[\0\ud800-\udfff]")
"""What stands for one character, and is written otherwise in SQLite, or cannot be."""

_WITH_ID = "run_id <> ''"
_PLAIN_ID = "typeof(run_id) = 'text' AND instr(run_id, char(0)) = 0"
UNSURE_ID = f"CASE WHEN :is_glob AND {_PLAIN_ID} THEN NULL ELSE CAST(run_id AS BLOB) END"
"""The id of a row that `conditions` may take, and a pattern not. NULL for one that surely fits."""

_LAST_CHARACTER, _BEHIND_SURROGATES = "\U0010ffff", "\ue000"

_HAS = "instr(footer, CAST('{}' AS BLOB))"


def is_decided(where: RunFilter) -> bool:
    """Whether the conditions of a filter take no other rows than the filter."""
    return is_in_columns(where) and where.ids is None


def conditions(where: RunFilter) -> tuple[list[str], Values]:
    """Give the conditions of a filter for a row of `runs`, and their values by name."""
    found: list[str] = []
    values: Values = {}
    if where.statuses is not None:
        found.append(f"status IN ({_listed('status', sorted(where.statuses), values)})")
    if is_of_unfinished(where):
        found.append(UNFINISHED)
    if where.stale:
        found.append("status = 'running'")
    if where.steps is not None:
        steps = [sql_text(step) for step in sorted(where.steps)]
        found.append(f"step IN ({_listed('step', steps, values)})")
    for name, time, relation in (("since", where.since, ">="), ("until", where.before, "<")):
        if time is not None:
            found.append(f"written_at {relation} :{name}")
            values[name] = time
    if where.ids is not None:
        found.append(_id_condition(where.ids, values))
    if word := error_word(where):
        found.append("instr(footer, CAST(:word AS BLOB))")
        values["word"] = word
    common, fewer = words_of_fewer_tries(where)
    if common:
        has_one = " OR ".join(map(_HAS.format, fewer))
        found.append(f"NOT ({_HAS.format(common)} AND ({has_one}))")
    return found, values


def _listed(name: str, several: list[Any], values: Values) -> str:
    values |= {f"{name}{number}": one for number, one in enumerate(several)}
    return ", ".join(f":{name}{number}" for number in range(len(several)))


def _id_condition(pattern: str, values: Values) -> str:
    if not is_pattern(pattern):
        values["run_id"], values["is_glob"] = sql_text(pattern), False
        return "run_id = :run_id"
    values["glob"] = glob = _wider_glob(pattern)
    values["is_glob"] = glob == pattern
    return f"({_WITH_ID} AND (NOT ({_PLAIN_ID}) OR run_id GLOB :glob))"


def _wider_glob(pattern: str) -> str:
    """A pattern that SQLite takes, and that fits all that this one fits. Often it is the same."""
    if len(pattern) > _LONGEST_GLOB:
        return "*"
    glob = _NO_GLOB.sub("?", pattern)
    if glob.count("*") <= _MOST_STARS:
        return glob
    return f"{glob.partition('*')[0]}*{glob.rpartition('*')[2]}"


def _is_text(text: str) -> bool:
    return isinstance(sql_text(text), str)


def prefix_values(prefix: str) -> Values:
    """The values of `IDS_IN_RANGE` for the ids that begin with a text."""
    if not _is_text(prefix):  # Ids with such a beginning are stored as bytes.
        return {"id_from": b"", "id_to": b""}
    return {"id_from": prefix, "id_to": _behind_all(prefix)}


def _behind_all(prefix: str) -> str | bytes:
    """The smallest value that is greater than all texts with this beginning."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return b""  # Bytes are greater than any text.
    following = chr(ord(kept[-1]) + 1)
    # No text of a database has a surrogate.
    return kept[:-1] + (following if _is_text(following) else _BEHIND_SURROGATES)
