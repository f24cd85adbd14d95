"""The client of a store that is out of reach at times, and that is read through it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.withdrawable_results import LeftResult, WithdrawableResult
from aiocheckpoint.handlers.leased._client import StoreClient
from aiocheckpoint.handlers.leased._requests import Release

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._notices import Notices
    from aiocheckpoint.handlers.leased._patience import Patience

__all__ = ["ReadingClient"]

_Result = TypeVar("_Result")
_SECONDS_AT_EXIT = 1.0


class ReadingClient(StoreClient):
    """A store that is out of reach at times, and whose runs are read through its client.

    Attributes:
        answers: Counts the answers of the store.
        notices: Hears what other processes tell.
        patience: Decides how long requests are repeated.
    """

    answers: Answers
    notices: Notices
    patience: Patience

    @abstractmethod
    def read(self, function: Callable[[Any], _Result]) -> _Result:
        """Call a function with the statements that read. It is repeated like a request.

        Raises:
            StorageError: The store cannot be read.
        """

    def _result_kind(self, request: object) -> type[PendingResult[Any]]:
        return LeftResult if isinstance(request, Release) else WithdrawableResult

    def close(self, *, if_unused: bool = False) -> None:
        if not if_unused:
            self.notices.close()
        super().close(if_unused=if_unused)

    def close_at_exit(self) -> None:
        """Do as `close`. A store out of reach does not hold up the end of the process for long."""
        self.patience.seconds = min(self.patience.seconds, _SECONDS_AT_EXIT)
        self.close()
