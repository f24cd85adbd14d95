"""The error of a run that was ended for good."""

from __future__ import annotations

from aiocheckpoint._errors.messages import reset_call
from aiocheckpoint._errors.root import CheckpointError

__all__ = ["RunTerminatedError"]

_BY = {
    "step": "by Terminate in its step",
    "hand": "by hand",
    "starts": "after too many starts",
}


class RunTerminatedError(CheckpointError):
    """The run was ended for good, now or earlier. Its state is stored as before its last step.

    Attributes:
        path: Where the checkpoint is.
        run_id: The run, or None.
        reason: Why it was terminated.
        by: What terminated it: "step", "hand" or "starts", see `Header.terminated_by`.
    """

    def __init__(
        self, path: str, *, run_id: str | None = None, reason: str | None, by: str | None
    ) -> None:
        how = _BY.get(by or "", "for a reason that is not stored")
        why = f": {reason}" if reason else ""
        again = "" if run_id is None else f", arequeue({run_id!r}) makes it due again"
        super().__init__(
            f"the run in {path} was terminated {how}{why}. It does not go on by itself. "
            f"run and arun go on with it under checkpoint=, which names a step{again}, and "
            f"{reset_call(run_id)} forgets it."
        )
        self.path = path
        self.run_id = run_id
        self.reason: str = reason or ""
        self.by = by
