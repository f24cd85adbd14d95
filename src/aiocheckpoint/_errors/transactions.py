"""The errors of steps that write into the transaction of their snapshot, or want to."""

from __future__ import annotations

from aiocheckpoint._errors.root import CheckpointError

__all__ = ["NotTransactionalError", "StepTransactionError"]


class NotTransactionalError(CheckpointError, RuntimeError):
    """A step asked for `connection()`, and its snapshots are in no store that has transactions.

    Or the step is executed by an `executor=`.

    Attributes:
        path: Where the checkpoint is, without a password.
        step: Name of the step.
    """

    def __init__(self, path: str, step: str, *, elsewhere: bool = False) -> None:
        why = f"{path} has none. A PostgreSQL store has it: CheckpointFlow('postgresql://...')"
        if elsewhere:
            why = "an executor executes it, far from that connection. Leave executor= out"
        super().__init__(
            f"step {step!r} asked for the connection that stores its snapshot, and {why}. "
            "Elsewhere open a connection of your own, and let current_step().idempotency_key be a "
            "unique key of what the step inserts, as a step may be executed twice."
        )
        self.path = path
        self.step = step


class StepTransactionError(CheckpointError, RuntimeError):
    """A step used the connection of `connection()` against the rules of its transaction.

    The transaction begins and ends with the attempt at the step, and not in the step. It cannot be
    committed if a statement has failed in it, or is still being executed. Nothing of it is stored.

    Attributes:
        step: Name of the step.
        problem: The rule that was broken.
    """

    def __init__(self, step: str, problem: str, remedy: str) -> None:
        super().__init__(f"the transaction of step {step!r}: {problem}. {remedy}")
        self.step = step
        self.problem = problem
