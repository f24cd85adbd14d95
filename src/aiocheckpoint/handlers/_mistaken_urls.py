"""Texts that are no paths: URLs that lack a slash, those of other libraries, connection strings.

As a path, such a text would get into names of files and into messages, with the password in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Mistake", "find_mistake"]

_FOREIGN = re.compile(r"(?i)(?:jdbc|odbc|pgsql|postgres(?:ql)?(?:\+\w+)?):(?!//)(?=.)")
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
"""A single letter is a drive of Windows."""
_SQLITE = re.compile(r"(?i)(sqlite):(?!//)(.*)", re.DOTALL)
_BUCKET = re.compile(r"(?i)(s3|gs|az):(?!/)(?=.)")
_VALUE = r"(?:'(?:\\.|[^'\\])*'|\{[^}]*\}|[^\s;]*)"
_ASSIGNMENTS = re.compile(rf"\s*(\w+)\s*=\s*{_VALUE}[\s;]+[\w ]+=", re.DOTALL)
_OF_CONNECTIONS = re.compile(
    "(?i)host|hostaddr|port|dbname|database|user|password|passfile|service|sslmode|options|server|"
    "driver|dsn"
)
_CLEAR = re.compile(r"(?i)\s*(?:dbname|password)\s*=")
_FORMS = (
    "Write postgresql://USER@HOST/DATABASE?option=value for a PostgreSQL server, and "
    "sqlite:///FILE for a database file."
)
_FILE = "A path of that name begins with './'."


class Mistake(NamedTuple):
    """Why a text is no path.

    Attributes:
        shown: The text in messages, without a password. None where its parts are not clear.
        problem: The sentences of the error. They show no password either.
    """

    shown: str | None
    problem: str


def find_mistake(path: str) -> Mistake | None:
    """Say why a text without a scheme is no path. None where it may be one."""
    database = _SQLITE.fullmatch(path)
    if database is not None:
        return Mistake(
            path,
            f"{path!r} is a path, and the URL of a database file has three slashes: write "
            f"'sqlite:///{database[2]}'. For a file of that name, write './{path}'.",
        )
    bucket = _BUCKET.match(path)
    if bucket is not None:
        scheme = bucket[1].lower()
        return Mistake(
            f"{bucket[1]}:***",
            f"'{bucket[1]}:...' is a path, and the URL of a bucket has two slashes: write "
            f"'{scheme}://BUCKET/PREFIX'. {_FILE}",
        )
    one_slash = _ONE_SLASH.match(path)
    if one_slash is not None:
        scheme = one_slash[1]
        return Mistake(
            f"{scheme}:/***",
            f"'{scheme}:/...' has one slash, and a URL such as {_example(scheme)} has two. A Path "
            f"takes one of them away, so give a URL as text. {_FILE}",
        )
    foreign = _FOREIGN.match(path)
    if foreign is not None:
        return Mistake(
            f"{foreign[0]}***", f"'{foreign[0]}...' is no URL of a store. {_FORMS} {_FILE}"
        )
    assigned = _ASSIGNMENTS.match(path)
    if _CLEAR.match(path) or (assigned is not None and _OF_CONNECTIONS.fullmatch(assigned[1])):
        return Mistake(
            None, f"a connection string of options is no URL of a store. {_FORMS} {_FILE}"
        )
    return None


def _example(scheme: str) -> str:
    is_server = scheme.lower().startswith("postgres")
    return "postgresql://USER@HOST/DATABASE" if is_server else f"{scheme}://..."
