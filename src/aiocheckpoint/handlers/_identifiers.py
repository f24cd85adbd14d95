"""Checks of paths and run ids, and the default name of a flow."""

from __future__ import annotations

import os
from pathlib import PurePath

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["check_path", "check_run_id", "flow_name"]


_LONGEST_ID = 1000


def check_path(path: object) -> str:
    """Return the text of a path, a string or Path that is not empty.

    Raises:
        InvalidTypeError: The path is something else.
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


def flow_name(path: str) -> str:
    """The default name of a flow: the file name of its path without the ending."""
    return PurePath(path).stem or PurePath(os.path.abspath(path)).stem or "flow"


def check_run_id(run_id: object) -> str | None:
    """Return `run_id` if it is None or a string that is not empty.

    Raises:
        InvalidTypeError: `run_id` is something else.
        InvalidValueError: `run_id` is empty, or longer than 1,000 characters.
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
    return run_id
