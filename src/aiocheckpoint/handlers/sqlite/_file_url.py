"""The URL of a database file."""

from __future__ import annotations

import os

from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._urls import is_database_file, redact_url, refuse_mistaken

__all__ = ["file_of"]

_SCHEME = "sqlite:///"
_IN_MEMORY = {":memory:", "sqlite:///:memory:", "sqlite://:memory:", "sqlite::memory:"}


def file_of(text: str) -> str:
    """The file path in a path or URL.

    A query is no part of these URLs. A file whose name has a "?" is taken where it exists, as 0.5
    made it.

    Raises:
        InvalidValueError: A URL has a query, or names no file, or a database in memory.
    """
    if text.lower() in _IN_MEMORY:
        raise InvalidValueError(
            f"{text!r} is no file: the database would be that of one connection. Give the path of "
            "a file, or handler=aiocheckpoint.testing.MemoryStateHandler for runs that are kept "
            "in memory."
        )
    refuse_mistaken(text)
    if "://" not in text:
        return text
    file = text[len(_SCHEME) :] if is_database_file(text) else ""
    name, query, _ = file.partition("?")
    if query and not os.path.exists(file):
        raise InvalidValueError(
            f"'{_SCHEME}{redact_url(name)}?...' has a query, and the URL of a database file takes "
            "none. Give options by keyword, such as CheckpointFlow(url, lease=10). For a file "
            "whose name has a question mark, give its path and handler='sqlite'."
        )
    if file:
        return file
    raise InvalidValueError(
        f"{redact_url(text)!r} names no file. Write sqlite:///runs.db for a path from the working "
        "directory, or sqlite:////var/lib/runs.db for one from the root."
    )
