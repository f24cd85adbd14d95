"""One use of a store by this process, from its first request to its closing.

Everything that this process knows of the store ends with it. The next session is another owner.
"""

from __future__ import annotations

import itertools
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiocheckpoint.handlers.leased._requests import Release
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["LivingOwner", "Session"]


class LivingOwner(Protocol):
    """An owner that is not gone, as an error names it."""

    @property
    def pid(self) -> int | None:
        """Its process id, or None where it is unknown."""
        ...

    @property
    def host(self) -> str | None:
        """The name of its machine, or None where it is unknown."""
        ...

    @property
    def lease_left(self) -> float | None:
        """Seconds after which others take its runs, or None where none are counted."""
        ...

    @property
    def end_is_seen(self) -> bool:
        """Whether others see the end of its process within a second."""
        ...


class Session(ABC):
    """The facts of a session that all stores have. Used by one thread.

    Attributes:
        tokens: Tokens of leases, each new.
        held_tokens: Tokens of the leases that are held.
        pending_releases: Leases to release in the next transaction.
        released_early: Leases whose callers had gone before the claim was committed.
    """

    def __init__(self) -> None:
        self.tokens = itertools.count(secrets.randbits(61) + 1)
        self.held_tokens: set[int] = set()
        self.pending_releases: list[Release] = []
        self.released_early: list[Release] = []

    @property
    @abstractmethod
    def owner_id(self) -> str:
        """Id of this process among the owners."""

    @property
    @abstractmethod
    def statements(self) -> WritingStatements:
        """The statements, on the present connection."""

    @property
    @abstractmethod
    def seconds_to_heartbeat(self) -> float:
        """Seconds until the next heartbeat is due."""

    @abstractmethod
    def begin(self, count: int) -> None:
        """Begin the work on some requests: connect if need be.

        Args:
            count: The number of requests and of the rows that they insert.
        """

    @abstractmethod
    def in_transaction(self, work: Callable[[], None]) -> None:
        """Call `work` in a transaction, which also renews this owner's lease if that is due."""

    @abstractmethod
    def check_commit(self) -> None:
        """Check after a commit, before it is acknowledged, that the store still has it."""

    @abstractmethod
    def living(self, owner_ids: Iterable[str]) -> Mapping[str, LivingOwner | None]:
        """Free the runs of owners that are gone, in a transaction, and give the others.

        Returns:
            Each owner, or None for one that is gone.
        """

    @abstractmethod
    def expire_dead(self) -> float | None:
        """Free the runs of every owner that is gone, in a transaction.

        Returns:
            Seconds after which one more look may find another one gone, if that is soon.
        """

    @abstractmethod
    def note_draining(self) -> None:
        """Note that this owner has begun to drain, in a transaction."""

    def note_released(self, releases: Sequence[Release]) -> None:
        """Forget leases whose release was committed."""
        del self.pending_releases[: len(releases)]
        self.held_tokens.difference_update(release.token for release in releases)

    @abstractmethod
    def disconnect(self) -> None:
        """Close the connection until the next request, and keep the leases."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave the connection open, unused: it belongs to the parent of a forked child."""

    @abstractmethod
    def close(self) -> None:
        """Release all leases and close the connection. Raises nothing for a store out of reach."""
