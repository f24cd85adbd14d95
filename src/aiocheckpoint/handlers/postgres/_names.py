"""Names in the database: run ids as keys of an index, and the name of the schema."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import Key

__all__ = [
    "DEFAULT_SCHEMA",
    "KEPT_IN_KEY",
    "RUN_KEY",
    "checked_schema",
    "key_values",
    "run_key",
    "stored_bytes",
]

DEFAULT_SCHEMA = "aiocheckpoint"

_LONGEST_KEY, _DIGEST_BYTES = 512, 32
KEPT_IN_KEY = _LONGEST_KEY - _DIGEST_BYTES
"""The first bytes of a run id that its key has as well, if it has so many."""
_SCHEMA = re.compile(r"[A-Za-z0-9_$-]{1,63}")
_RESERVED = re.compile(r"(?i)pg_|information_schema\Z")

RUN_KEY = (
    f"CASE WHEN octet_length(run_id) < {_LONGEST_KEY} THEN run_id ELSE substring(run_id FROM 1 "
    f"FOR {_LONGEST_KEY - _DIGEST_BYTES}) || sha256(run_id) END"
)
"""The column `run_key` in SQL, from the column `run_id`. No two run ids have the same key.

An entry of a B-tree has at most 2,704 bytes (https://www.postgresql.org/docs/current/btree.html),
and a run id up to 4,000. Two keys of long ids differ because their digests do. They are as long as
no key of a short id.
"""


def run_key(run_id: str | bytes) -> bytes:
    """The value of the column `run_key` for a run id."""
    stored = stored_bytes(run_id)
    if len(stored) < _LONGEST_KEY:
        return stored
    return stored[: _LONGEST_KEY - _DIGEST_BYTES] + sha256(stored).digest()


def key_values(key: Key) -> tuple[bytes, bytes]:
    """The values of `flow` and `run_key` that find a run."""
    flow, run_id = key
    return stored_bytes(flow), run_key(run_id)


def stored_bytes(text: str | bytes) -> bytes:
    """Give a text of users, such as the name of a step, as the database has it."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def checked_schema(schema: object) -> str:
    """Give the name of a schema back if it is one.

    Raises:
        InvalidTypeError: It is no text.
        InvalidValueError: It is reserved, has other characters than letters of ASCII, digits, "_",
            "-" and "$", or has not 1 to 63 of them.
    """
    if not isinstance(schema, str):
        raise InvalidTypeError(f"schema= is a string, not a {type(schema).__name__}.")
    if not _SCHEMA.fullmatch(schema):
        raise InvalidValueError(
            f"schema={schema!r}: it is a name of 1 to 63 letters of ASCII, digits, '_', '-' and "
            "'$'. Upper and lower case are two names."
        )
    if _RESERVED.match(schema):
        raise InvalidValueError(
            f"schema={schema!r}: PostgreSQL keeps such names for itself. Give another one."
        )
    return schema
