"""Notices: short texts that the processes of a leased store send each other, and a listener.

A notice is a letter and a digest, so that nobody reads a run id or the name of a flow in the logs
of a server. It says that something happened, and the store says what. A notice that is lost costs
nothing but time, because everybody also looks now and then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import blake2b
from typing import TYPE_CHECKING

from aiocheckpoint import _public

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint.handlers.leased._requests import Key

__all__ = [
    "FREED",
    "StoreListener",
    "announced",
    "announcement",
    "ending_notice",
    "is_sent_if_attended",
    "is_woken_by",
    "queue_notice",
    "release_notice",
]

FREED = "f"
"""Runs of an owner that was gone are free."""
_RELEASED, _AWAITED, _QUEUED, _ENDING = "r", "w", "q", "t"
_DIGEST_BYTES = 9
_FREED_CONCERNS = (_RELEASED, _QUEUED)


def release_notice(key: Key) -> str:
    """Give the notice that a run is free."""
    return _RELEASED + _digest(*key)


def queue_notice(flow: str | bytes) -> str:
    """Give the notice that a run of a flow is due."""
    return _QUEUED + _digest(flow)


def ending_notice(flow: str | bytes) -> str:
    """Give the notice that the end of a run of a flow is asked for."""
    return _ENDING + _digest(flow)


def announcement(notice: str) -> str:
    """Give the notice that a process waits for another notice."""
    return _AWAITED + notice


def is_woken_by(notice: str, given: Collection[str]) -> bool:
    """Whether someone who waits for a notice is to look, after these."""
    return notice in given or (FREED in given and notice.startswith(_FREED_CONCERNS))


def is_sent_if_attended(notice: str) -> bool:
    """Whether a notice is sent only where some process waits for it now."""
    return notice.startswith(_QUEUED)


def announced(notices: Collection[str]) -> list[str]:
    """Give the notices that other processes have announced to wait for."""
    return [notice[1:] for notice in notices if notice.startswith(_AWAITED)]


def _digest(*texts: str | bytes) -> str:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for text in texts:
        encoded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return digest.hexdigest()


class StoreListener(ABC):
    """A connection that hears notices, and sends some. Used by one thread, `wake` aside.

    Its methods raise `StoreUnreachableError` where the connection is lost. It is then closed.
    """

    @abstractmethod
    def wait(self, seconds: float) -> list[str]:
        """Wait for notices, at most so long, or until `wake`. Give those that came."""

    @abstractmethod
    def wake(self) -> None:
        """End the wait. Called in any thread, also by a signal handler."""

    @abstractmethod
    def notify(self, notices: Collection[str]) -> None:
        """Send notices to all listeners."""

    @abstractmethod
    def attend(self, notices: Collection[str]) -> None:
        """Let others see that this process waits for these notices, and for no others."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. Raises nothing."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave the connection, which is the parent's, in a forked child."""


_public.publish("aiocheckpoint.handlers.leased", globals(), ["StoreListener"])
