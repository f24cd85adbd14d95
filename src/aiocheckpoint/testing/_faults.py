"""The faults that the author of a store can make, for the checks that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Faults"]


class Faults:
    """What the author of a store can do to it, so that `check_handler` can see how it bears that.

    A subclass has the methods that its store allows. The checks that need a missing one are
    reported as not checked. Each method is called in the process of the checks, in any thread.
    """

    def steal(self, run_id: str | None) -> None:
        """Take a run from its owner in the store itself, as if the owner had been taken for dead.

        The run has no owner then, and anyone may take it. Its last owner does not learn of it: no
        lock is released, and no handler called.

        Args:
            run_id: The run, which is owned by a handler of this process.
        """
        raise NotImplementedError

    def pause_owner(self) -> AbstractContextManager[None]:
        """Make the owners of this process look stopped, for the time of a `with` block.

        It is for stores that no other process reaches. Any other store is checked by a process that
        is stopped. Handlers made before the block send no heartbeat in it. A handler made in the
        block is another owner.
        """
        raise NotImplementedError

    def outage(self, seconds: float) -> None:
        """Take the store out of reach at once, and bring it back after some time.

        Connections break, and new ones fail. Nothing is lost that was stored before. The call
        returns at once, and a thread or process brings the store back.

        Args:
            seconds: For how long. It may take a few seconds longer.
        """
        raise NotImplementedError

    def lose_answer(self) -> None:
        """Let the store carry out the next change, and let its answer be lost.

        A change is whatever commits. The connection breaks before the answer has arrived, as where
        a server or a network dies right behind the commit. The next connection is sound.
        """
        raise NotImplementedError

    def crash_store(self) -> None:
        """Kill the store as a power cut does, start it again, and return when it answers.

        Whatever it holds in memory is lost. Killing a process loses nothing that the operating
        system holds in its cache.
        """
        raise NotImplementedError

    def rows(self) -> int:
        """Count the rows, objects or files that the store has of runs and of their locks.

        What it has once for each process, such as the row of an owner, does not count.
        """
        raise NotImplementedError
