"""The error of a run that a drain has stopped, or kept from beginning."""

from __future__ import annotations

from aiocheckpoint._errors.messages import describe_drained
from aiocheckpoint._errors.root import CheckpointError

__all__ = ["DrainingError"]


class DrainingError(CheckpointError):
    """The flow is being drained: a run was stopped after a step, or not started at all.

    No work is lost: the run is stored as "stopped", and the next process resumes it. The message
    says so where the stored run was deleted meanwhile.

    Attributes:
        flow: Name of the flow.
        path: Where the checkpoint of the stopped run is. None where no run was stopped.
        of_run: Whether a run was stopped, or did not begin. False where `adrain` was refused.
    """

    def __init__(self, flow: str, path: str | None = None, *, problem: str = "") -> None:
        super().__init__(describe_drained(flow, path, problem))
        self.flow = flow
        self.path = path
        self.of_run: bool = path is not None or not problem
