"""The result of one run of many."""

from dataclasses import dataclass
from typing import Any

from aiocheckpoint._model.header import Status

__all__ = ["RunResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of one run of many.

    Attributes:
        run_id: The run, or None for the run without an id.
        state: Its final state. None where there is an error.
        error: The exception that ended it, with a note on how to resume, or None.
        status: "finished", or "stopped" or "paused" where the run can be resumed. None where there
            is an error.
    """

    run_id: str | None
    state: dict[str, Any] | None
    error: BaseException | None
    status: Status | None = None
