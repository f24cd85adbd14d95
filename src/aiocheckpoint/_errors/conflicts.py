"""The error and the warning for a given state that the stored run overrules."""

from __future__ import annotations

from aiocheckpoint._errors.messages import reset_call
from aiocheckpoint._errors.root import CheckpointError

__all__ = ["GivenStateIgnoredWarning", "StateConflictError"]


class StateConflictError(CheckpointError):
    """A state was given to a stored run that began with another one, so no step was run.

    It is raised under `conflict="raise"`, and for a queued run or by `submit` always. Elsewhere the
    given state is ignored, with a warning of the same words.

    Attributes:
        path: Where the checkpoint is.
        run_id: The run, or None.
    """

    def __init__(
        self,
        path: str,
        run_id: str | None,
        *,
        finished: bool,
        step: str | None,
        raised: bool,
        queued: bool = False,
        submitted: bool = False,
    ) -> None:
        goes_on = "goes on" if step is None else f"goes on at step {step!r}"
        happens = "gives its stored result" if finished else f"{goes_on} with its stored state"
        kind, began = ("finished" if finished else "unfinished"), "began"
        if queued:
            kind, began = "queued", "was submitted"
        if run_id is not None:
            remedy = "use another run_id"
        elif finished:
            remedy = "leave once=True out, or use another path or run_id"
        else:
            remedy = (
                f"forget the stored run with {reset_call(run_id)}, or use another path or run_id"
            )
        super().__init__(
            f"the given state is {'refused' if raised else 'ignored'}: the "
            f"{kind} run in {path} {began} with another one, "
            f"and {happens}. To run with the given state, {remedy}."
            + ("" if submitted else " To keep to the stored run, leave the state out.")
        )
        self.path = path
        self.run_id = run_id


class GivenStateIgnoredWarning(UserWarning):
    """A state was given to a stored run without an id that began with another one.

    The run goes on with its stored state, or under `once=True` gives its stored result.
    `CheckpointFlow(..., conflict="raise")` makes a `StateConflictError` of it. Runs with an id have
    a log record instead. A state equal to the one that the run began with is no conflict.
    """
