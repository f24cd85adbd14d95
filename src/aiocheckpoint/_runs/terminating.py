"""Terminating a run from outside: a stored one by its header, one in progress by a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiocheckpoint._engine.claimed_runs import is_claimed_here, terminate_here
from aiocheckpoint._engine.locking import wait_a_moment
from aiocheckpoint._model.checks import checked_wait
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    RunNotFoundError,
    RunStatusError,
)
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._stored_changes import terminate_stored

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers import StateHandler

__all__ = ["TerminateCall"]


class TerminateCall:
    """One call to terminate a run.

    Args:
        core: The flow.
        run_id: The run, or None.
        reason: The reason.
        wait: Seconds to wait for the end of a run in progress.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a user's own
            class.
    """

    def __init__(self, core: FlowCore, run_id: str | None, reason: str, wait: float) -> None:
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(f"reason= is a string, not a {type(reason).__name__}.")
        self._handler: StateHandler = core.snapshot_handler()
        self._run_id, self._reason = checked_run_id(run_id), reason
        self._location = self._handler.locate(run_id)
        self._wait = checked_wait(wait)

    async def carry_out(self, backend: Backend) -> Header | None:
        """Terminate the run, or ask for it, and wait for its end.

        Returns:
            The header of a run that has ended for good. None where it is still in progress.

        Raises:
            RunNotFoundError: Nothing is stored.
            RunStatusError: The run has finished.
            InvalidValueError: It is in progress elsewhere, and the handler keeps no requests.
            CheckpointError: The run cannot be read or written.
        """
        deadline = time.monotonic() + self._wait
        ended = await backend.run(self._terminate_or_ask)
        if ended is not None:
            return ended
        terminate_here(self._location, self._reason)
        while (left := deadline - time.monotonic()) > 0:
            await wait_a_moment(self._handler, self._run_id, backend, left)
            ended = await backend.run(self._terminate_if_free)
            if ended is not None:
                return ended
        return None

    def _terminate_or_ask(self) -> Header | None:
        """Terminate a run that is free. Of one in progress store the request."""
        header = self._handler.header(self._run_id)
        if header is None:
            raise RunNotFoundError(self._location, "terminate")
        if header.finished:
            raise RunStatusError(
                self._location,
                header.status,
                f"the run in {self._location} has finished, so that there is nothing to "
                f"terminate. It runs again only if somebody begins it anew.",
            )
        if header.status == "terminated":
            return header
        ended = self._terminate_if_free()
        if ended is not None:
            return ended
        try:
            self._handler.write_ending(self._run_id, self._reason)
        except InvalidValueError:
            if not is_claimed_here(self._location):
                raise
        return self._terminate_if_free()  # Its owner may have ended it before it saw the request.

    def _terminate_if_free(self) -> Header | None:
        try:
            with self._handler.locked(self._run_id) as lock:
                header = terminate_stored(self._handler, self._run_id, self._reason, lock)
        except RunInProgressError:
            return None
        if header is None:
            raise RunNotFoundError(self._location, "terminate")
        return header
