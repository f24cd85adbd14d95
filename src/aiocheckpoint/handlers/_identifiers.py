"""Checks of paths, run ids and names of flows."""

from __future__ import annotations

import os

from aiocheckpoint._model.checks import LONGEST_NAME, joins_in_json
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._urls import flow_name, redact_url, refuse_nameless

__all__ = [
    "checked_flow",
    "checked_name",
    "checked_path",
    "checked_run_id",
]


_LONGEST_ID = 1000
_JOINED = (
    "holds two surrogates that stand for one character, so it would be the id of another run as "
    'well. Give the text itself: run_id.encode("utf-16", "surrogatepass").decode("utf-16").'
)
_UNFIT = "a NUL, or two surrogates that stand for one character; take them out"


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
            "the path of a checkpoint is a string or Path that is not empty, not "
            f"{'an empty one' if text == '' else f'a {type(path).__name__}'}."
        )
    if "\0" in text or not _is_encodable(text):
        raise InvalidValueError(
            f"the path of a checkpoint, {redact_url(text)!r}, holds a character that no path may "
            "have."
        )
    return text


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def checked_name(path: object, name: object) -> str:
    """Return the name of a flow: `name`, or by default that of its path.

    Raises:
        InvalidTypeError: `name` is no text or empty, or `path` is no path.
        StorageError: `path` has no name of its own, and the working directory was deleted.
        InvalidValueError: The name cannot be stored unambiguously, or is very long. Or `path` is a
            database server that names no database.
    """
    if name is None:
        text = checked_path(path)
        refuse_nameless(text)
        return checked_flow(flow_name(text))
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


def checked_run_id(run_id: object) -> str | None:
    """Return `run_id` if it is None or a string that is not empty.

    Of a subclass, as of an `enum.StrEnum`, a plain string, which messages show as it is.

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
    return str.__str__(run_id)
