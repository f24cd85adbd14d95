"""Patterns of run ids in SQL: the ids are bytes, and a pattern is about characters.

LIKE compares bytes (https://www.postgresql.org/docs/current/functions-binarystring.html), so that
it decides a pattern whose only special character is `*`. Any other pattern is narrowed by LIKE, and
decided by a regular expression for ids of ASCII, which are their own text. Ids of other characters
that are left are decided by the pattern itself, in Python.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from aiocheckpoint.handlers._filter_columns import id_prefix, is_pattern
from aiocheckpoint.handlers._query import id_key
from aiocheckpoint.handlers.postgres._names import KEPT_IN_KEY, run_key

__all__ = ["UNSURE_ID", "id_conditions", "is_exact"]

_PART = re.compile(r"\*+|\?|\[!?+\]?+[^]]*\]|.", re.DOTALL)
"""The parts of a pattern as `fnmatch` has them. A bracket that nothing closes is a character."""
_LIKE_SPECIAL = re.compile(rb"([\\%_])")
_ASCII = tuple(map(chr, range(1, 0x80)))

# The escape format writes NUL, a backslash, and all bytes from 128 on by more than one character.
_IS_PLAIN = "octet_length(encode(run_id, 'escape')) = octet_length(run_id)"
UNSURE_ID = f"CASE WHEN {_IS_PLAIN} THEN NULL ELSE run_id END"
"""The id of a row that the conditions may take, and an inexact pattern not. NULL for one that
surely fits."""

_NO_PLAIN_ID = r"\\"
"""A regular expression for a backslash, which no plain id has."""


def is_exact(ids: str) -> bool:
    """Whether the conditions of a pattern take no other ids than the pattern."""
    return not any(part == "?" or part[1:] for part in _PART.findall(ids) if part[0] != "*")


def id_conditions(ids: str) -> tuple[list[str], dict[str, Any]]:
    """Give the conditions for the ids that fit a pattern, and their values by name.

    The run without an id fits none. The range of a common beginning is found by an index.
    """
    if not is_pattern(ids):
        return ["run_key = %(run_key)s"], {"run_key": run_key(id_key(ids))}
    found, values = _range(id_key(id_prefix(ids)))
    parts: list[str] = _PART.findall(ids)
    found.append("run_id <> '' AND run_id LIKE %(ids_like)s")
    values["ids_like"] = b"".join(map(_in_like, parts))
    if not is_exact(ids):
        found.append(f"(NOT {_IS_PLAIN} OR encode(run_id, 'escape') ~ %(ids_regex)s)")
        values["ids_regex"] = f"^{''.join(map(_in_regex, parts))}$"
    return found, values


def _range(prefix: bytes) -> tuple[list[str], dict[str, Any]]:
    if not prefix:
        return [], {}
    prefix = prefix[:KEPT_IN_KEY]
    behind = prefix[:-1] + bytes([prefix[-1] + 1])  # No byte of UTF-8 is 255.
    found = ["run_key >= %(ids_from)s", "run_key < %(ids_to)s"]
    return found, {"ids_from": prefix, "ids_to": behind}


def _in_like(part: str) -> bytes:
    if part[0] == "*":
        return b"%"
    if part == "?" or part[1:]:
        return b"_%"  # A character has one byte or more.
    return _LIKE_SPECIAL.sub(rb"\\\1", id_key(part))


def _in_regex(part: str) -> str:
    if part[0] == "*":
        return ".*"
    if part == "?":
        return "."
    fitting = [one for one in _ASCII if one != "\\" and fnmatchcase(one, part)]
    if not fitting:
        return _NO_PLAIN_ID
    # Written by their numbers, none of these is special.
    return "[{}]".format("".join(f"\\u{ord(one):04x}" for one in fitting))
