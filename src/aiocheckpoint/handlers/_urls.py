"""Paths and URLs: their scheme, their absolute form, how they are shown, and the name in them."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

from aiocheckpoint.errors import InvalidValueError, StorageError
from aiocheckpoint.handlers._mistaken_urls import find_mistake

__all__ = [
    "DATABASES",
    "absolute_path",
    "flow_name",
    "is_database_file",
    "redact_url",
    "refuse_mistaken",
    "refuse_nameless",
    "url_scheme",
    "without_password",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORT = re.compile(r"[^/:@]*:\d+(?:/|$)")
_CREDENTIALS = re.compile(r"\A(?:[^/]*:.*|[^/]*)@")
_ASSIGNMENT = re.compile(
    r"(?i)(password|passwd|pwd|secret|token)\s*=\s*('(?:\\.|[^'\\])*'?|\"[^\"]*\"?|[^\s&;]+)"
)
_DATABASE_FILE = "sqlite:///"
_SERVER = re.compile(
    r"(?P<scheme>(?i:postgres(?:ql)?)://)(?:(?P<user>[^:@/?#]*)(?::[^@/?#]*)?@)?(?P<place>[^@?#=;]*)"
    r"(?:\?(?P<query>(?:[a-z_]+=[^@?#&]*(?:&|\Z))*))?"
)
_PASSWORD = re.compile(r"(?:password|sslpassword)=")
_DATABASE_SERVERS = frozenset({"postgresql", "postgres"})
DATABASES = _DATABASE_SERVERS | {"sqlite"}
"""The schemes of databases, which are never paths of files."""


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
    """The scheme of a URL in lower case. None for any other text, or for a path that is no text.

    Upper and lower case are one scheme (https://www.rfc-editor.org/rfc/rfc3986#section-3.1).
    """
    found = _SCHEME.match(path) if isinstance(path, str) else None
    return None if found is None else found[1].lower()


def is_database_file(text: str) -> bool:
    """Whether a text is the URL of a database file."""
    return text[: len(_DATABASE_FILE)].lower() == _DATABASE_FILE


def refuse_mistaken(path: str) -> None:
    """Raise InvalidValueError for a text that is no path, as it lacks a scheme with two slashes.

    Raises:
        InvalidValueError: It is a connection string, the URL of another library, or lacks a slash.
            The error shows no password.
    """
    mistake = None if url_scheme(path) is not None else find_mistake(path)
    if mistake is not None:
        raise InvalidValueError(mistake.problem)


def refuse_nameless(url: str) -> None:
    """Raise InvalidValueError for the URL of a database server without a path that names a flow."""
    scheme, shown = url_scheme(url), redact_url(url)
    if scheme in _DATABASE_SERVERS:
        _, _, path = re.split(r"[?#]", shown[len(f"{scheme}://") :])[0].partition("/")
        if not path.strip("/"):
            raise InvalidValueError(
                "the URL of the database has no name in its path, after which the flow would be "
                f"named: write '{scheme}://USER@HOST/DATABASE', or give the flow a name, by name=."
            )


def redact_url(text: str) -> str:
    """A path or URL to show, with "***" for what may be a secret.

    These are the user, password, query and fragment of a server's URL. A password may hold any
    character, so that more is masked where the parts are not clear. Paths and the URLs of files are
    shown as they are, except for assignments such as `password=...`.
    """
    scheme = url_scheme(text)
    mistake = find_mistake(text) if scheme is None else None
    if mistake is not None and mistake.shown is not None:
        text = mistake.shown
    if scheme is None or is_database_file(text):
        return _ASSIGNMENT.sub(r"\1=***", text)
    written, rest = text[: len(scheme)], text[len(scheme) + len("://") :]
    head = re.split(r"[?#]", rest, maxsplit=1)[0]
    mark, tail = rest[len(head) : len(head) + 1], rest[len(head) + 1 :]
    if "@" in tail and "@" not in head and ":" in head and not _PORT.match(head):
        return f"{written}://***"  # The mark is a part of the password.
    head = _ASSIGNMENT.sub(r"\1=***", _CREDENTIALS.sub("***@", head))
    return f"{written}://{head}{mark}{'***' if mark else ''}"


def without_password(text: str) -> str | None:
    """A path or URL as people may paste it: as it is, but for a password.

    None where it may hold a secret and its parts are not clear, as with a "%" in the name of an
    option. The user stays in the URL of a PostgreSQL server, and so do all options but passwords.
    """
    if redact_url(text) == text:
        return text
    parts = _SERVER.fullmatch(text)
    if parts is None:
        return None
    user = "" if parts["user"] is None else f"{parts['user']}@"
    options = filter(None, (parts["query"] or "").split("&"))
    query = "&".join(one for one in options if not _PASSWORD.match(one))
    return f"{parts['scheme']}{user}{parts['place']}{'?' if query else ''}{query}"


def flow_name(path: str) -> str:
    """The default name of a flow: the last part of its path without the ending.

    Of a URL, only host and path count: a user, password or query gets into no name. A connection
    string that holds a secret gives "flow".
    """
    if is_database_file(path):
        return PurePath(path.partition("?")[0]).stem
    scheme, shown = url_scheme(path), redact_url(path)
    if scheme is not None:
        head = re.split(r"[?#]", shown[len(f"{scheme}://") :])[0]
        name = PurePath(head.rpartition("***@")[2]).stem
        return "flow" if name in {"", "***"} else name
    mistake = find_mistake(path)
    if mistake is not None and shown != path:
        if mistake.shown is None or _ASSIGNMENT.search(path):
            return "flow"
        scheme, _, rest = path.partition(":")
        return flow_name(rest if url_scheme(rest) else f"{scheme}://{rest.lstrip('/')}")
    return PurePath(path).stem or PurePath(absolute_path(path)).stem or "flow"
