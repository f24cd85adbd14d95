"""Results of requests that their callers can withdraw until they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.giving_up import is_given_up, may_be_given_up, stall_seconds
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._concurrency.stalls import StalledError

if TYPE_CHECKING:
    import asyncio

__all__ = ["LeftResult", "WithdrawableResult"]

_Result = TypeVar("_Result")
_TAKEN, _WITHDRAWN = "taken", "withdrawn"
_LOOK_SECONDS = 0.1


class WithdrawableResult(PendingResult[_Result]):
    """The result of a request to a store that may be out of reach for long.

    The thread that sends the request takes it, and a caller that was cancelled withdraws it. The
    first of both counts, so that nothing is sent whose caller has gone.

    Args:
        request: As in `PendingResult`.
        loop: As in `PendingResult`.
    """

    __slots__ = ("_is_unwanted", "_state")

    is_withdrawable = True

    def __init__(self, request: Any, loop: asyncio.AbstractEventLoop | None) -> None:  # noqa: ANN401
        super().__init__(request, loop)
        self._is_unwanted = False
        self._state: dict[None, str] = {}  # setdefault() is atomic.

    @property
    def is_taken(self) -> bool:
        return self._state.get(None) == _TAKEN

    def take(self) -> bool:
        if self._is_unwanted:
            self.withdraw()
        if self._state.setdefault(None, _TAKEN) == _TAKEN:
            return True
        self.error = StalledError(None)
        return False

    def give_back(self) -> None:
        if self._state.get(None) == _TAKEN:  # No other thread takes anything away.
            del self._state[None]

    def withdraw(self) -> bool:
        # First the wish, then the try. `give_back` is followed by a look for the wish.
        self._is_unwanted = True
        return self._state.setdefault(None, _WITHDRAWN) == _WITHDRAWN

    def drop_if_unwanted(self) -> bool:
        if self._is_unwanted and self.withdraw():
            self.error = StalledError(None)  # The caller may wait, if its own try came too early.
            return True
        return False

    def _block(self) -> None:
        if not may_be_given_up():
            super()._block()
            return
        while not self.wait_at_most(_LOOK_SECONDS):
            if is_given_up() and self.withdraw():
                raise StalledError(None)

    def _settle_interrupted(self) -> None:
        try:
            if self.ended or self._state.get(None) == _WITHDRAWN:
                return
            is_over = self.wait_at_most(stall_seconds()) or self.withdraw()
        except BaseException:  # Ctrl-C once more
            self.withdraw()
            raise
        if not is_over:
            super()._settle_interrupted()


class LeftResult(WithdrawableResult[_Result]):
    """The result of a request that is carried out in any case. A caller that has to go leaves it.

    Args:
        request: As in `PendingResult`.
        loop: As in `PendingResult`.
    """

    __slots__ = ()

    def take(self) -> bool:
        return True

    def give_back(self) -> None:
        pass

    def drop_if_unwanted(self) -> bool:
        return False

    def withdraw(self) -> bool:
        return True
