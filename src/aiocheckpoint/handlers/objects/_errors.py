"""What the exceptions of obstore mean: out of reach, refused for good, or a condition not met.

Their classes are told by their names, as a forked child has others.
"""

from __future__ import annotations

import re

from aiocheckpoint.errors import StorageError, StoreUnreachableError

__all__ = ["ConditionError", "NotSentError", "translated"]

_MISSING = {"FileNotFoundError", "NotFoundError"}
_REFUSED = {"PermissionDeniedError", "PermissionError", "UnauthenticatedError"}
_CONDITION = {"AlreadyExistsError", "FileExistsError", "PreconditionError"}
_INVALID = {"NotSupportedError", "InvalidPathError", "NotImplementedError", "ValueError"}
_NOT_SENT = re.compile(r"\bConnect\b|ConnectError|dns error|ConnectionRefused")
_SOURCE = re.compile(r"\n\s*\n?Debug source:", re.DOTALL)
_URL = re.compile(r"\(?https?://\S+")
_LONGEST = 200


class ConditionError(Exception):
    """The object is not in the state that a write has asked for."""


class NotSentError(StoreUnreachableError):
    """The request was not sent, as there was no connection."""


def translated(
    error: BaseException, place: str, doing: str
) -> StorageError | ConditionError | None:
    """Give the exception that an exception of obstore becomes.

    Args:
        error: The exception.
        place: The store, for messages.
        doing: What failed, a gerund.

    Returns:
        The exception. None for an object that is missing.
    """
    kind, problem = type(error).__name__, _problem(error)
    if kind in _CONDITION:
        return ConditionError()
    if kind in _MISSING:
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            return StorageError(
                place, f"{doing} {place} failed: there is no such bucket. Make it, and run again."
            )
        return None
    if kind in _REFUSED:
        return StorageError(
            place,
            f"{doing} {place} was refused: {problem}. Give this process credentials that may read, "
            "write, list and delete objects there, and run again.",
        )
    if kind in _INVALID:
        return StorageError(place, f"{doing} {place} failed: {problem}. Use another store.")
    if isinstance(error, TimeoutError):
        problem = "it did not answer in time"
    unreachable = NotSentError if _NOT_SENT.search(str(error)) else StoreUnreachableError
    return unreachable(place, problem)


def _problem(error: BaseException) -> str:
    """The words of an exception in one line, without addresses, which may hold a signature."""
    words = " ".join(_URL.sub("", _SOURCE.split(str(error))[0]).split())
    return words[:_LONGEST].rstrip(" .:") or type(error).__name__
