"""The part of the port that is about notices: what other processes do to the runs of a store.

A store that gives none is looked at again and again. So is one that does, but less often.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["NoticePort"]

_SECONDS_BETWEEN_CLAIMS = 0.05


class NoticePort:
    """What a store tells of other processes. A store tells nothing by default.

    A callback is called in any thread, and returns at once. It may be called for nothing.
    """

    def seconds_between_claims(self, waiting: int) -> float:
        """How often a run that another process has is asked for, by all that wait for it here.

        Args:
            waiting: The number of runs that this process waits for.
        """
        del waiting
        return _SECONDS_BETWEEN_CLAIMS

    def on_release(
        self, run_id: str | None, callback: Callable[[], object]
    ) -> AbstractContextManager[None]:
        """Call `callback` when a run is free, while a `with` block is executed.

        Args:
            run_id: The run, or None.
            callback: The function.
        """
        del run_id, callback
        return nullcontext()

    def on_queued(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` when a run of the flow is due, while a `with` block is executed.

        Args:
            callback: The function.
        """
        del callback
        return nullcontext()

    def on_ending(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` when a run of the flow is to be terminated, in a `with` block.

        Args:
            callback: The function.
        """
        del callback
        return nullcontext()
