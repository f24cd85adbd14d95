"""Paths and URLs: their scheme, their absolute form, how they are shown, and the name in them."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

from aiocheckpoint.errors import InvalidValueError, StorageError

__all__ = ["absolute_path", "flow_name", "redact_url", "refuse_one_colon", "url_scheme"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORT = re.compile(r"[^/:@]*:\d+(?:/|$)")
_CREDENTIALS = re.compile(r"\A(?:[^/]*:.*|[^/]*)@")
_ASSIGNMENT = re.compile(
    r"(?i)(password|passwd|pwd|secret|token)\s*=\s*('(?:\\.|[^'\\])*'?|\"[^\"]*\"?|[^\s&;]+)"
)
_DATABASE_FILE = "sqlite:///"
_DSN = re.compile(r"\w+\s*=\s*(?:'(?:\\.|[^'\\])*'|[^\s;]*)[\s;]+\w+\s*=")


def absolute_path(path: str) -> str:
    """The absolute form of a path, with `~` as the user's home.

    Raises:
        StorageError: The path is relative, and the working directory was deleted.
    """
    path = os.path.expanduser(path)
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise StorageError(
            path,
            f"{path!r} is relative to the working directory of this process, which cannot be "
            f"found: {error.strerror}. Give an absolute path, or call os.chdir() with a directory "
            "that exists.",
            errno=error.errno,
        ) from error


def url_scheme(path: object) -> str | None:
    """The scheme of a URL. None for any other text, or for a path that is no text."""
    found = _SCHEME.match(path) if isinstance(path, str) else None
    return None if found is None else found[1]


def refuse_one_colon(path: str) -> None:
    """Raise InvalidValueError for a URL of a database file that lacks its slashes."""
    scheme, _, file = path.partition(":")
    if scheme.lower() == "sqlite" and not file.startswith("//"):
        raise InvalidValueError(
            f"{path!r} is a path, and the URL of a database file has three slashes: write "
            f"'{_DATABASE_FILE}{file}'. For a file of that name, write './{path}'."
        )


def redact_url(text: str) -> str:
    """A path or URL to show, with "***" for what may be a secret.

    These are the user, password, query and fragment of a server's URL. A password may hold any
    character, so that more is masked where the parts are not clear. Paths and the URLs of files are
    shown as they are, except for assignments such as `password=...`.
    """
    scheme = url_scheme(text)
    if scheme is None or text.startswith(_DATABASE_FILE):
        return _ASSIGNMENT.sub(r"\1=***", text)
    rest = text[len(scheme) + len("://") :]
    head = re.split(r"[?#]", rest, maxsplit=1)[0]
    mark, tail = rest[len(head) : len(head) + 1], rest[len(head) + 1 :]
    if "@" in tail and "@" not in head and ":" in head and not _PORT.match(head):
        return f"{scheme}://***"  # The mark is a part of the password.
    head = _ASSIGNMENT.sub(r"\1=***", _CREDENTIALS.sub("***@", head))
    return f"{scheme}://{head}{mark}{'***' if mark else ''}"


def flow_name(path: str) -> str:
    """The default name of a flow: the last part of its path without the ending.

    Of a URL, only host and path count: a user, password or query gets into no name. A connection
    string that holds a secret gives "flow".
    """
    if path.startswith(_DATABASE_FILE):
        return PurePath(path.partition("?")[0]).stem
    scheme, shown = url_scheme(path), redact_url(path)
    if scheme is not None:
        head = re.split(r"[?#]", shown[len(f"{scheme}://") :])[0]
        name = PurePath(head.rpartition("***@")[2]).stem
        return "flow" if name in {"", "***"} else name
    if shown != path and _DSN.match(path):
        return "flow"
    return PurePath(path).stem or PurePath(absolute_path(path)).stem or "flow"
