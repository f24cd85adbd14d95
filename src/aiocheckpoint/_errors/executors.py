"""The error of steps that an executor cannot execute."""

from __future__ import annotations

from aiocheckpoint._errors.root import CheckpointError

__all__ = ["ExecutorError"]


class ExecutorError(CheckpointError, RuntimeError):
    """The executor of a step did not execute it, or could not give back how it ended.

    Also the result of a run that was sent whole, where the executor takes no calls.

    The step's own exceptions come out as they are. The cause is the error of the executor.

    Attributes:
        step: Name of the step. None for a run that was sent whole.
        problem: The reason, with the remedy.
    """

    def __init__(self, step: str | None, problem: str) -> None:
        what = "executor=" if step is None else f"the executor of step {step!r}"
        super().__init__(f"{what}: {problem.rstrip('.')}.")
        self.step = step
        self.problem = problem
