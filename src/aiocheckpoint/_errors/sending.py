"""The errors of flows and of runs that are sent to other processes."""

from __future__ import annotations

from aiocheckpoint._errors.root import CheckpointError

__all__ = ["RemoteError", "UnpicklableFlowError", "WorkerLostError"]


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


class WorkerLostError(CheckpointError, RuntimeError):
    """The workers of an executor were lost again and again under a run or a step.

    Such as a process that a signal has killed, or that was out of memory. The cause is the error of
    the executor. The stored run stays as the last worker has left it, and goes on by `aresume_all`,
    `awork` or a further call.

    Attributes:
        run_id: The run, or None for the run without an id.
        step: The step that was sent alone, by `add_step(executor=)`. None for a run that was sent
            whole.
        losses: How many workers were lost.
    """

    def __init__(
        self, run_id: str | None, losses: int, *, step: str | None = None, remedy: str = ""
    ) -> None:
        what = f"run {run_id!r}" if run_id is not None else "the run"
        if step is not None:
            what = f"step {step!r} of {what}"
        times = "once" if losses == 1 else f"{losses} times"
        remedy = remedy or "Was it killed, or out of memory? The log of the engine may say so."
        super().__init__(
            f"the executor lost its worker {times} under {what}. {remedy} What was stored stays, "
            "and a further call goes on from there."
        )
        self.run_id = run_id
        self.step = step
        self.losses = losses


class RemoteError(CheckpointError, RuntimeError):
    """A run was ended in a worker by an exception that cannot be sent from there as it is.

    Its class cannot be pickled, or not loaded here. The cause has its text, and the stored header
    has the failure.

    Attributes:
        run_id: The run.
        kind: The name of the exception's class, with its module.
        text: Its text with the traceback in the worker.
    """

    def __init__(self, run_id: str | None, kind: str, text: str) -> None:
        super().__init__(
            f"run {run_id!r} was ended in a worker by a {kind}, which cannot be sent from there. "
            "Its text and traceback are the cause. Put its class at the top level of a module, and "
            "let pickle make it anew, to get it here."
        )
        self.run_id = run_id
        self.kind = kind
        self.text = text
