"""Run ids to file names: ids are mapped, never joined to a path."""

from __future__ import annotations

import hashlib
import os
import re

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["check_path", "check_run_id", "run_path"]

_LONGEST = 120


def check_path(path: object) -> str:
    """Give the text of a path, a string or Path that is not empty.

    Raises:
        InvalidTypeError: It is something else.
    """
    try:
        text = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise InvalidTypeError(
            f"the path of a checkpoint is a string or Path that is not empty, not {path!r}."
        )
    return text


def check_run_id(run_id: object) -> str | None:
    """Give `run_id` back if it is None or a string that is not empty.

    Raises:
        InvalidTypeError: It is something else.
        InvalidValueError: It is empty.
    """
    if run_id is None:
        return None
    if not isinstance(run_id, str):
        raise InvalidTypeError(f"run_id must be a string, not {type(run_id).__name__}.")
    if not run_id:
        raise InvalidValueError('run_id is empty; give it a name such as "order-42", or None.')
    return run_id


def run_path(path: str, run_id: str | None) -> str:
    """The file of a run: `path` itself without an id, else a file beside it.

    `checkpoint.pkl` and `order-42` give `checkpoint.order-42.pkl`. Lower-case ASCII letters,
    digits, hyphen and underscore stand for themselves, every other byte of the id's UTF-8 form is
    written as %XX, so that no two ids share a file even where the file system folds case or
    Unicode forms. An id whose name would be long is named by "~" and its SHA-256.
    """
    if run_id is None:
        return path
    raw = run_id.encode("utf-8", "surrogatepass")
    short = raw[: _LONGEST + 1]
    name = re.sub(rb"[^a-z0-9_-]", lambda found: b"%%%02X" % found[0][0], short).decode()
    if len(name) > _LONGEST:
        name = "~" + hashlib.sha256(raw).hexdigest()
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{name}{suffix}"
