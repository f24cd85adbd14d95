"""`current_step()`: the step that runs in this context."""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from typing import NamedTuple

from aiocheckpoint.errors import OutsideStepError

__all__ = ["CURRENT", "CurrentStep", "current_step"]


class CurrentStep(NamedTuple):
    """Which step of which run is being executed.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None.
        number: Counts the runs that began anew under this id, from 1.
        step: Name of the step.
        attempt: Counts the attempts of this run at this step, from 1. Attempts whose process was
            killed are not counted.
    """

    flow: str
    run_id: str | None
    number: int
    step: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """A key for calls to the outside, the same at every attempt of this run at this step.

        64 hexadecimal digits: the SHA-256 of flow, run id, run number and step. A deleted run that
        is started again has the same keys.
        """
        identity = json.dumps([self.flow, self.run_id, self.number, self.step])
        return hashlib.sha256(identity.encode()).hexdigest()


CURRENT: ContextVar[CurrentStep | None] = ContextVar("aiocheckpoint_step", default=None)
"""The step that runs in this context. A run inside a step hides the outer one."""


def current_step() -> CurrentStep:
    """Give the step that runs, to the step itself, its loader or its saver.

    Works in coroutines and in the threads of sync functions. It works in a thread of the user only
    with the context of the step, which `asyncio.to_thread` passes on.

    Raises:
        OutsideStepError: No step is being executed here.
    """
    step = CURRENT.get()
    if step is None:
        raise OutsideStepError
    return step
