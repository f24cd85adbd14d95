"""What a step can ask about itself while it runs."""

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
        attempt: Counts the attempts of this run at this step, from 1. An attempt that ended with
            its process, killed, left no account and is not counted.
    """

    flow: str
    run_id: str | None
    number: int
    step: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """A key for calls to the outside, the same at every attempt of this run at this step.

        64 hexadecimal digits: the SHA-256 of flow, run id, run number and step. A run that was
        deleted and is started again has the keys of the one before.
        """
        facts = json.dumps([self.flow, self.run_id, self.number, self.step])
        return hashlib.sha256(facts.encode()).hexdigest()


CURRENT: ContextVar[CurrentStep | None] = ContextVar("aiocheckpoint_step", default=None)
"""The step that runs in this context; a step run inside another one's run hides that."""


def current_step() -> CurrentStep:
    """Tell which step is being executed, in a step, its loader or its saver.

    Works in coroutines and in the threads of sync functions alike; in a thread of the user's own
    only where the context was passed on, as `asyncio.to_thread` does.

    Raises:
        OutsideStepError: No step is being executed here.
    """
    found = CURRENT.get()
    if found is None:
        raise OutsideStepError
    return found
