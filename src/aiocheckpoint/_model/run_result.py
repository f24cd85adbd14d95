"""The result of one run of many."""

from dataclasses import dataclass
from typing import Generic

from aiocheckpoint._model.header import Status
from aiocheckpoint._model.older_records import loads_older
from aiocheckpoint._model.shown import Shown
from aiocheckpoint._model.state_type import StateT

__all__ = ["RunResult"]


@loads_older
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Shown, Generic[StateT]):
    """The result of one run of many.

    Type checkers know its state by the flow: `CheckpointFlow[Order]` gives `RunResult[Order]`.

    Attributes:
        run_id: The run, or None for the run without an id.
        state: Its final state. None where there is an error, and for a run that was submitted.
        error: The exception that ended it, with a note on how to resume, or None.
        status: "finished", or "stopped" or "paused" where the run can be resumed. "terminated"
            where the error is a `RunTerminatedError`. Of a submitted run, "queued" or that of the
            stored one. None where there is another error, so that a failed run has `error` alone.
        pause_number: Of a paused run, the number of the pause that it waits in, else 0.
    """

    run_id: str | None
    state: StateT | None
    error: BaseException | None
    status: Status | None = None
    pause_number: int = 0
