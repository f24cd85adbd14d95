"""`current_step()`: the step that runs in this context."""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from typing import NamedTuple

from aiocheckpoint._concurrency import forks
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import OutsideStepError

__all__ = [
    "CURRENT",
    "CurrentStep",
    "StepInProgress",
    "current_step",
    "step_in_progress",
    "step_inside",
]


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


class StepInProgress:
    """A step from its first attempt to its snapshot, in the process that executes it.

    Contexts are copied and outlive the step: tasks, threads and worker processes that began during
    it keep them. They share this object, so that it can be ended for all of them.

    Attributes:
        outer: The step in which its run was begun, or None.
        facts: The fields of the step at its present attempt. None before the first attempt and
            after the end.
        process: The process that executes it, as `forks.process` has it.
    """

    __slots__ = ("facts", "outer", "process")

    def __init__(self) -> None:
        self.outer: StepInProgress | None = CURRENT.get()
        self.facts: tuple[str, str | None, int, str, int] | None = None
        self.process: object = forks.process

    @property
    def step(self) -> CurrentStep | None:
        """The step, made for those who ask: every attempt begins one, and few are asked for."""
        facts = self.facts
        return None if facts is None else CurrentStep(*facts)


CURRENT: ContextVar[StepInProgress | None] = ContextVar("aiocheckpoint_step", default=None)
"""The step in progress in this context. A run inside a step hides the outer one."""


def step_in_progress() -> CurrentStep | None:
    """Give the step that is executed here by this process, or None."""
    found = CURRENT.get()
    return None if found is None or found.process is not forks.process else found.step


def step_inside(flow: str) -> str | None:
    """Give the name of the step of a flow that is executed here, or has begun what is, or None."""
    found = CURRENT.get()
    while found is not None and found.process is forks.process:
        if found.step is not None and found.step.flow == flow:
            return found.step.step
        found = found.outer
    return None


@front_door
def current_step() -> CurrentStep:
    """Give the step that runs, to the step itself, its loader or its saver.

    Works in coroutines and in the threads of sync functions, in tasks that the step starts, and in
    threads with the context of the step, which `asyncio.to_thread` passes on.

    A worker process, a thread of a pool and a background task serve the steps of many runs, and may
    have begun during another one. In a forked process, and once the step has ended, there is no
    current step. Take the key in the step, and pass it on as an argument:
    `pool.submit(charge, current_step().idempotency_key)`.

    Raises:
        OutsideStepError: No step is being executed here, it has ended, or another process
            executes it.
    """
    found = CURRENT.get()
    if found is None:
        raise OutsideStepError
    if found.process is not forks.process:
        raise OutsideStepError("this process was forked, and has a copy of the step of its parent")
    step = found.step
    if step is None:
        raise OutsideStepError("the step in which this task or thread began has ended")
    return step
