"""The errors of flows that are sent to other processes."""

from __future__ import annotations

from aiocheckpoint._errors.root import CheckpointError

__all__ = ["UnpicklableFlowError"]


class UnpicklableFlowError(CheckpointError, TypeError):
    """A flow or handler cannot be pickled, and so not be sent to another process.

    Attributes:
        problem: The reason, with the remedy.
        step: Name of the step whose function, loader or saver cannot be pickled, or None.
    """

    def __init__(self, problem: str, *, step: str | None = None) -> None:
        super().__init__(f"the flow cannot be pickled: {problem}")
        self.problem = problem
        self.step = step
