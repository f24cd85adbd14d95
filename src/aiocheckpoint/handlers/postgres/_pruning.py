"""Pruning by statements: the runs that a query chooses by columns alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.footer import SIGNATURE_BYTES, SIGNATURE_FROM_END
from aiocheckpoint.handlers.postgres._listing import chosen_rows

if TYPE_CHECKING:
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.postgres._conditions import Values

__all__ = ["prune_statement"]

_AT_ONCE = 500
_IS_UNSIGNED = (
    f"substring(footer FROM octet_length(footer) - {SIGNATURE_FROM_END - 1} FOR {SIGNATURE_BYTES}) "
    f"= '\\x{'00' * SIGNATURE_BYTES}'::bytea"
)
"""Whether the trailer has neither a signature nor the id of a secret."""

# A row that another transaction has locked is in use. Waiting for it could end in a deadlock.
_DELETE = (
    "WITH gone AS (DELETE FROM SCHEMA.runs WHERE id IN "  # noqa: S608
    f"(SELECT id FROM SCHEMA.runs WHERE {{}} LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED) "
    "RETURNING id) SELECT count(*) FROM gone"
)
"""What is kept beside a run is deleted with it, see the foreign keys of the tables."""


def prune_statement(flow: str | bytes, query: Query, *, unsigned: bool) -> tuple[str, Values]:
    """Give the statement that deletes some runs, see `StoreConnection.prune_rows`, and its values.

    It gives their number.
    """
    found, values = chosen_rows(flow, query._replace(unowned=True))
    if unsigned:
        found.append(_IS_UNSIGNED)
    return _DELETE.format(" AND ".join(found)), values
