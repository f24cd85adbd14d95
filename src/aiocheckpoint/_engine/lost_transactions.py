"""The repeat of a step whose transaction was lost with its connection, as when a server restarts.

Nothing of such an attempt is stored, and nothing is wrong with the step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pauses import doubled_pause
from aiocheckpoint._engine.attempts import record_attempt, restart
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._engine.step_transactions import end_transaction

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext, StepProgress

__all__ = ["prepare_repeat"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds before a step is executed again. The pause is doubled after each loss."""


async def prepare_repeat(
    context: RunContext, progress: StepProgress, error: BaseException, state: dict[str, Any]
) -> BaseException | None:
    """Roll back the transaction of an attempt, and make ready for another one if it was lost.

    Args:
        context: The run.
        progress: The position in the step.
        error: The exception that ended the attempt.
        state: The state, restored as it was on entry to the step.

    Returns:
        None if the step is to be executed again. Else the exception that ends it.

    Raises:
        DrainedError: It would be executed again, and the flow is being drained.
    """
    transaction, transactions = context.transaction, context.run_store.transactions
    if transaction is None or transactions is None:
        raise AssertionError(progress.step)
    lost = await end_transaction(transaction, progress, error)
    if not lost.is_lost or not isinstance(lost.error, Exception):
        return lost.error
    now = time.monotonic()
    progress.lost_at = now if progress.lost_at is None else progress.lost_at
    if now - progress.lost_at >= transactions.patience:
        return lost.error
    try:
        if not await record_attempt(context, progress, lost.error):
            return lost.error
        context.cursors.done_at = None
        pause = doubled_pause(_FIRST_PAUSE, progress.losses, _LONGEST_PAUSE)
        progress.losses += 1
        await context.active_run.sleep(context.backend, pause)
        await restart(context, progress, lost.error, state, progress.data)
    except (GeneratorExit, DrainedError):
        raise
    except BaseException as second:  # noqa: BLE001 - raised by the caller
        return second
    return None
