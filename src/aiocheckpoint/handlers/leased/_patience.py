"""Patience with a store that is out of reach: requests and reads are repeated for so long.

The thread of the writer and the threads of readers use one `Patience` for a store. Nothing here
holds a lock: a signal handler or a finalizer may interrupt any line, and call it again.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.giving_up import Answers, is_given_up, may_be_given_up
from aiocheckpoint._concurrency.pauses import doubled_pause
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._clock import Clock

__all__ = ["Patience"]

_Result = TypeVar("_Result")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries. The pause is doubled after each."""
_SHORTEST_PAUSE = 0.001
"""The last pause is cut at the end of the patience."""
_LOOK_SECONDS = 0.1
"""Between two looks whether the caller of a read has gone."""
_BETWEEN_WARNINGS = 10.0
"""Seconds. A store that comes and goes is not logged more often."""


class Patience:
    """Decides how long requests wait for a store that is out of reach, and logs its outages.

    An outage begins with the second try in a row that fails. One connection that was ended, and
    made anew at once, is none.

    Args:
        location: The store in messages, without a password.
        seconds: How long a request or a read is repeated, from its first failure on.
        clock: Tells the time.

    Attributes:
        seconds: The same seconds.
        answers: Counts the answers of the store. A cancelled run waits as long as it answers.
    """

    def __init__(self, location: str, seconds: float, clock: Clock) -> None:
        self.seconds: float = seconds
        self.answers: Answers = Answers()
        self._location = location
        self._clock = clock
        self._failures = 0
        self._failed_first: dict[PendingResult[Any], float] = {}
        self._outage: dict[None, float] = {}  # setdefault() and pop() are atomic.
        self._warned_at = -math.inf
        self._most_waiting = 0

    def wait_on(
        self, group: Sequence[PendingResult[Any]], error: StoreUnreachableError
    ) -> float | None:
        """Note that a try to carry out requests has failed. Called by the writer thread.

        Requests whose time is over end with a `StoreUnreachableError`. Those that were withdrawn
        end as well.

        Args:
            group: The requests that have neither result nor error.
            error: The failure.

        Returns:
            Seconds until the next try. None where all requests have ended.
        """
        now = self._clock.monotonic()
        waiting = [pending for pending in group if not pending.drop_if_unwanted()]
        first = {pending: self._failed_first.get(pending, now) for pending in waiting}
        over = [pending for pending, since in first.items() if now - since >= self.seconds]
        for pending in over:
            pending.error = self._given_up(error, now - first.pop(pending))
        self._failed_first = first
        self._failures += 1
        if not error.is_of_statement:
            self._note_failure(self._failures, error, len(waiting))
        if not first:
            return None
        return self._pause(self._failures, min(first.values()) + self.seconds - now)

    def note_success(self) -> None:
        """Note that the store has answered. Called by the writer thread."""
        self.answers.count += 1
        if self._failures:
            self._failures = 0
            self._failed_first = {}
        if self._outage:
            self._note_end()

    def repeat(self, read: Callable[[], _Result]) -> _Result:
        """Call a function that only reads, until the store answers. Called in any thread.

        Raises:
            StoreUnreachableError: It was out of reach for the whole time.
            StalledError: The caller was cancelled meanwhile.
        """
        failures, since = 0, 0.0
        while True:
            try:
                result = read()
            except StoreUnreachableError as error:
                since = since if failures else self._clock.monotonic()
                failures += 1
                pause = self.pause_behind(error, failures, since)
            else:
                self.note_answer()
                return result
            self._sleep(pause)

    def pause_behind(self, error: StoreUnreachableError, failures: int, since: float) -> float:
        """Give the seconds until the next try of a call that has failed. Called in any thread.

        Args:
            error: The last failure.
            failures: The number of failures of this call in a row.
            since: When the first of them was.

        Raises:
            StoreUnreachableError: The call has been tried for the whole time.
        """
        now = self._clock.monotonic()
        self._note_failure(failures, error, 0)
        if now - since >= self.seconds:
            raise self._given_up(error, now - since) from error.__cause__
        return self._pause(failures, since + self.seconds - now)

    def note_answer(self) -> None:
        """Note that the store has answered a call. Called in any thread."""
        self.answers.count += 1
        if self._outage:
            self._note_end()

    def _sleep(self, seconds: float) -> None:
        """Sleep, but for no caller that has gone."""
        slice_ = _LOOK_SECONDS if may_be_given_up() else seconds
        while seconds > 0:
            if is_given_up():
                raise StalledError(None)
            self._clock.sleep(min(seconds, slice_))
            seconds -= slice_

    def _given_up(self, error: StoreUnreachableError, seconds: float) -> StoreUnreachableError:
        return StoreUnreachableError(
            self._location, error.problem, seconds=seconds, remedy=error.remedy
        )

    def _pause(self, failures: int, left: float) -> float:
        pause = doubled_pause(_FIRST_PAUSE, failures - 1, _LONGEST_PAUSE)
        # Without jitter, all processes would come back to a server at the same moment.
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return max(min(pause, left), _SHORTEST_PAUSE)

    def _note_failure(self, failures: int, error: StoreUnreachableError, waiting: int) -> None:
        self._most_waiting = max(self._most_waiting, waiting)
        now = self._clock.monotonic()
        if failures == 2 and self._outage.setdefault(None, now) == now:  # noqa: PLR2004
            if now - self._warned_at < _BETWEEN_WARNINGS:
                self._outage.pop(None, None)
                return
            self._warned_at = now
            text = "%s is out of reach: %s. It is tried again, and each request waits up to %g s."
            problem = ". ".join(filter(None, (error.problem, error.remedy.rstrip("."))))
            log(logging.WARNING, NOWHERE, text, self._location, problem, self.seconds)

    def _note_end(self) -> None:
        since = self._outage.pop(None, None)
        if since is None:  # Another thread has logged it.
            return
        most, self._most_waiting = self._most_waiting, 0
        text = "%s is in reach again, after %.1f s. Up to %d requests waited for it."
        log(logging.INFO, NOWHERE, text, self._location, self._clock.monotonic() - since, most)
