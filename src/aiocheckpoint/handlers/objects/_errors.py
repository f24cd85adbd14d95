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
_NO_BUCKET = re.compile(r"<Code>(?:NoSuchBucket|ContainerNotFound)</Code>")
_DENIED = re.compile(
    r"status code: 40[13]\b|\(code: AccessDenied\)|<Code>(?:ExpiredToken|InvalidToken)</Code>"
)
"""Lists and deletes that are refused have no class of their own."""
_NO_CREDENTIALS = re.compile(
    r"https?://[^\s/]+/(?:latest/(?:api/token|meta-data/iam/)|computeMetadata/|metadata/identity/)"
)
"""Without credentials, the services are asked that machines of a cloud have for them."""
_NO_REQUEST = "HTTP error: builder error"
"""No request can be made of the endpoint. obstore makes none of "http://" without leave."""
_SAID = re.compile(r"<(Code|Message)>([^<]*)</\1>")
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
    refusal = _refusal(kind, str(error), problem)
    if refusal is not None:
        return StorageError(place, f"{doing} {place} {refusal}")
    if kind in _MISSING:
        return None
    if isinstance(error, TimeoutError):
        problem = "it did not answer in time"
    unreachable = NotSentError if _NOT_SENT.search(str(error)) else StoreUnreachableError
    return unreachable(place, problem)


def _refusal(kind: str, text: str, problem: str) -> str | None:
    """Say why a request is refused each time, and what to do. None where it may succeed later."""
    if _NO_BUCKET.search(text):
        return "failed: there is no such bucket. Make it, and run again."
    if _NO_CREDENTIALS.search(text):
        return (
            "failed: no credentials were found. Give this process some, such as AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY for S3, and run again."
        )
    if kind in _REFUSED or _DENIED.search(text):
        return (
            f"was refused: {problem}. Give this process credentials that may read, write, list and "
            "delete objects there, and run again."
        )
    if _NO_REQUEST in text:
        return (
            "failed: no request can be made of the endpoint. One that begins with 'http://' needs "
            "allow_http, as in '?allow_http=true'. Otherwise correct it, and run again."
        )
    return f"failed: {problem}. Use another store." if kind in _INVALID else None


def _problem(error: BaseException) -> str:
    """The words of an exception in one line, without addresses, which may hold a signature.

    Those of an answer in XML are its code and its message, which would else be cut off.
    """
    text = _SOURCE.split(str(error))[0]
    said = ": ".join(words for _, words in _SAID.findall(text)) or text
    words = " ".join(_URL.sub("", said).split())
    return words[:_LONGEST].rstrip(" .:") or type(error).__name__
