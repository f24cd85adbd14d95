"""Takes a run of an older version of the flow on, by the user's function `migrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import LateCancellationError
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint._model.failure_texts import CANCELLATIONS
from aiocheckpoint._model.start_points import find_step
from aiocheckpoint._snapshot.keys import check_reserved_keys, drop_position, has_reserved_keys
from aiocheckpoint.errors import InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.callables import UserFunction

__all__ = ["Migration"]


class Migration:
    """Changes stored states of one run by `migrate`. Nothing is stored.

    Args:
        migrate: The user's function.
        stored: The version of the flow that stored the run.
        version: The version of this flow.
        steps: The names of its steps.
        location: Where the run is, for messages.
        backend: Calls the function.
    """

    def __init__(
        self,
        migrate: UserFunction,
        stored: int,
        version: int,
        *,
        steps: tuple[str, ...],
        location: str,
        backend: Backend,
    ) -> None:
        self._migrate, self._stored, self._version = migrate, stored, version
        self._steps, self._location, self._backend = steps, location, backend

    async def change(self, state: dict[str, Any], place: int | None) -> int:
        """Call `migrate` with a stored state, which it changes.

        Args:
            state: The state.
            place: Index of the step at which the run stands. None where the flow has none like it.

        Returns:
            The index of the step that `migrate` returned, or else `place`.

        Raises:
            InvalidTypeError, InvalidValueError: It returned no step of the flow, or put a value
                under a reserved key. Or it returned None, and has to name the step.
            BaseException: What it raised, with a note.
        """
        try:
            returned = await self._backend.executor.call(self._migrate, state, self._stored)
            if has_reserved_keys(state):
                check_reserved_keys(state, "the state that migrate= has changed")
                drop_position(state)
            return self._place(returned, place)
        except LateCancellationError as late:
            cancellation: BaseException = late.cancellation
        except BaseException as error:
            self._add_note(error.error if isinstance(error, ExceptionEnvelope) else error)
            raise
        self._add_note(cancellation)
        raise cancellation

    def _place(self, returned: Any, place: int | None) -> int:  # noqa: ANN401
        if returned is not None:
            return find_step(self._steps, returned, "the result of migrate=", may_show=False)
        if place is None:
            raise InvalidValueError(
                f"the run in {self._location} is at a step that this flow does not have, and "
                "migrate= returned None. Let it return the index or the name of the step to go on "
                f"at: one of {', '.join(map(repr, self._steps))}."
            )
        return place

    def _add_note(self, error: BaseException) -> None:
        mend = "Run again" if isinstance(error, CANCELLATIONS) else "Mend migrate= and run again"
        add_note_once(
            error,
            f"aiocheckpoint: migrate= was to take the run in {self._location} on, from version "
            f"{self._stored} to {self._version}. No step was run, and the run is as it was. "
            f"{mend}.",
        )
