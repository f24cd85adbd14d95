"""Checks of paths and run ids, schemes of URLs, and names of flows."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

from aiocheckpoint._model.checks import LONGEST_NAME, joins_in_json
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, StorageError

__all__ = [
    "absolute_path",
    "checked_flow",
    "checked_name",
    "checked_path",
    "checked_run_id",
    "flow_name",
    "redact_url",
    "url_scheme",
]


_LONGEST_ID = 1000
_FILES = {None, "sqlite"}
_JOINED = (
    "holds two surrogates that stand for one character, so it would be the id of another run as "
    'well. Give the text itself: run_id.encode("utf-16", "surrogatepass").decode("utf-16").'
)
_UNFIT = "a NUL, or two surrogates that stand for one character; take them out"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORT = re.compile(r"[^/:@]*:\d+(?:/|$)")
_CREDENTIALS = re.compile(r"\A(?:[^/]*:.*|[^/]*)@")
_ASSIGNMENT = re.compile(r"(?i)(password|passwd|secret|token)=[^\s&;]+")


def checked_path(path: object) -> str:
    """Return the text of a path, a string or Path that is not empty.

    Raises:
        InvalidTypeError: The path is something else.
        InvalidValueError: The path holds a NUL, or a character that the file system cannot take.
    """
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise InvalidTypeError(
            f"the path of a checkpoint is a string or Path that is not empty, not {path!r}."
        )
    if "\0" in text or not _is_encodable(text):
        raise InvalidValueError(
            f"the path of a checkpoint, {path!r}, holds a character that no path may have."
        )
    return text


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


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


def redact_url(text: str) -> str:
    """A path or URL to show, with "***" for what may be a secret.

    These are the user, password, query and fragment of a server's URL. A password may hold any
    character, so that more is masked where the parts are not clear. Paths and the URLs of files are
    shown as they are, except for assignments such as `password=...`.
    """
    scheme = url_scheme(text)
    if scheme is None:
        return _ASSIGNMENT.sub(r"\1=***", text)
    if scheme in _FILES:
        return text
    rest = text[len(scheme) + len("://") :]
    head = re.split(r"[?#]", rest, maxsplit=1)[0]
    mark, tail = rest[len(head) : len(head) + 1], rest[len(head) + 1 :]
    if "@" in tail and "@" not in head and ":" in head and not _PORT.match(head):
        return f"{scheme}://***"  # The mark is a part of the password.
    head = _CREDENTIALS.sub("***@", head)
    return f"{scheme}://{head}{mark}{'***' if mark else ''}"


def checked_name(path: object, name: object) -> str:
    """Return the name of a flow: `name`, or by default that of its path.

    Raises:
        InvalidTypeError: `name` is no text or empty, or `path` is no path.
        StorageError: `path` has no name of its own, and the working directory was deleted.
        InvalidValueError: The name cannot be stored unambiguously, or is very long.
    """
    if name is None:
        return checked_flow(flow_name(checked_path(path)))
    if not isinstance(name, str) or not name:
        raise InvalidTypeError(f"the name of a flow is a string that is not empty, not {name!r}.")
    return checked_flow(name)


def checked_flow(name: str) -> str:
    """Return the name of a flow, empty where it is unknown.

    Raises:
        InvalidTypeError: It is no text.
        InvalidValueError: It cannot be stored unambiguously, or has more than 1,000 characters.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidTypeError(f"the name of a flow is a string, not a {type(name).__name__}.")
    if len(name) > LONGEST_NAME:
        raise InvalidValueError(
            f"the name of a flow has {len(name)} characters, and may have {LONGEST_NAME}."
        )
    if "\0" in name or joins_in_json(name):
        raise InvalidValueError(f"the name of a flow, {name!r}, holds {_UNFIT}.")
    return name


def flow_name(path: str) -> str:
    """The default name of a flow: the last part of its path without the ending.

    Of the URL of a server, only the path counts: a user, password or query gets into no name.
    """
    scheme = url_scheme(path)
    if scheme not in _FILES:
        head = re.split(r"[?#]", redact_url(path)[len(f"{scheme}://") :])[0]
        return PurePath(head.partition("/")[2]).stem or "flow"
    return PurePath(path).stem or PurePath(absolute_path(path)).stem or "flow"


def checked_run_id(run_id: object) -> str | None:
    """Return `run_id` if it is None or a string that is not empty.

    Raises:
        InvalidTypeError: `run_id` is something else.
        InvalidValueError: `run_id` is empty, longer than 1,000 characters, or has two surrogates
            that stand for one character.
    """
    if run_id is None:
        return None
    if not isinstance(run_id, str):
        raise InvalidTypeError(f"run_id must be a string, not {type(run_id).__name__}.")
    if not run_id:
        raise InvalidValueError('run_id is empty; give it a name such as "order-42", or None.')
    if len(run_id) > _LONGEST_ID:
        raise InvalidValueError(
            f"run_id has {len(run_id)} characters, and may have {_LONGEST_ID}; a digest of it, "
            "such as its SHA-256, names a run as well."
        )
    if joins_in_json(run_id):
        raise InvalidValueError(f"run_id={run_id!r} {_JOINED}")
    return run_id
