"""Requests that a lock or a limit of the store holds up, while it carries out all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased._requests import Release

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.errors import StoreUnreachableError
    from aiocheckpoint.handlers.leased._clock import Clock

__all__ = ["HeldUpRequests"]

_SECONDS_APART = 0.2
"""Between two tries, at least."""
_SHORTEST = 1e-6
"""No pause is shorter, as a clock may stand still in it."""
_SHARE = 10
"""Tries take at most one part in so many of the time: others wait for each of them."""


class HeldUpRequests:
    """The requests that are held up, and when they are tried again. Used by one thread.

    Args:
        clock: Tells the time.

    Attributes:
        error: What the store has said of the last of them.
    """

    def __init__(self, clock: Clock) -> None:
        self.error: StoreUnreachableError | None = None
        self._clock = clock
        self._turns: dict[PendingResult[Any], None] = {}  # Those tried last come last.
        self._next_try = -float("inf")

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._turns)

    def __contains__(self, pending: PendingResult[Any]) -> bool:
        """Whether a request is one of them."""
        return pending in self._turns

    @property
    def seconds_to_try(self) -> float:
        """Seconds until they are tried again."""
        left = self._next_try - self._clock.monotonic()
        return left if left > _SHORTEST else 0.0

    def add(self, pending: PendingResult[Any], error: StoreUnreachableError) -> None:
        """Add a request, or let it have its next turn behind the others."""
        if not self._turns:
            self._next_try = self._clock.monotonic() + _SECONDS_APART
        self._turns.pop(pending, None)
        self._turns[pending] = None
        self.error = error

    def split(
        self, group: Sequence[PendingResult[Any]]
    ) -> tuple[list[PendingResult[Any]], list[PendingResult[Any]]]:
        """Part all others from the requests that are held up, and later ones of their runs."""
        if not self._turns:
            return list(group), []
        ranks = self._ranks()
        held_up = [one for one in group if one in self._turns or one.request.key in ranks]
        found = set(held_up)
        return [one for one in group if one not in found], held_up

    def in_turns(self, held_up: Sequence[PendingResult[Any]]) -> list[PendingResult[Any]]:
        """Give the requests to try, and the releases for which nobody waits, in their turns."""
        numbers = {pending: number for number, pending in enumerate(self._turns)}
        ranks = self._ranks()
        releases = [one for one in self._turns if isinstance(one.request, Release)]
        wanted = dict.fromkeys([*releases, *held_up])
        return sorted(wanted, key=lambda one: ranks.get(one.request.key, numbers.get(one, 0)))

    def note_try(self, began: float, tried: Collection[PendingResult[Any]]) -> None:
        """Note that requests were tried, and which of them did not have to wait any more.

        Args:
            began: When the try began.
            tried: Those that the store has carried out.
        """
        for pending in tried:
            self._turns.pop(pending, None)
        now = self._clock.monotonic()
        self._next_try = now + max(_SECONDS_APART, _SHARE * (now - began))

    def keep(self, waiting: Collection[PendingResult[Any]]) -> None:
        """Forget the requests that have ended. Releases stay until they are done."""
        self._turns = {
            one: None for one in self._turns if one in waiting or isinstance(one.request, Release)
        }

    def clear(self) -> None:
        """Forget all, at the end of the session."""
        self._turns.clear()

    def _ranks(self) -> dict[object, int]:
        """The first turn of each run. Requests of one run keep their order."""
        ranks: dict[object, int] = {}
        for number, pending in enumerate(self._turns):
            if pending.request.key is not None:
                ranks.setdefault(pending.request.key, number)
        return ranks
