"""The import of the asyncio half of anyio before a run needs it."""

from __future__ import annotations

import asyncio

import anyio

__all__ = ["anyio_warm_up"]


class _AnyioWarmUp:
    """Imports the asyncio half of anyio before a run needs it.

    anyio imports it at its first call. This takes 50 ms, and memory and descriptors that a failing
    run may not have.
    """

    def __init__(self) -> None:
        self.done = False

    def prepare(self) -> None:
        """Let anyio import it. Called in a thread, or in a task of a loop in such a thread.

        Without a lock, because a finalizer in this thread may call it in the midst of it. Python
        imports a module once, however many threads ask for it.
        """
        if self.done:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._ask())
        else:
            anyio.current_effective_deadline()
        self.done = True

    async def _ask(self) -> None:
        anyio.current_effective_deadline()


anyio_warm_up = _AnyioWarmUp()
