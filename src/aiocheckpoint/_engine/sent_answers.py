"""What a run makes of the answer of a step that was executed elsewhere: its state, or its error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from aiocheckpoint._concurrency.executors import call_enveloped
from aiocheckpoint._engine.sent_states import unpacked_state
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._snapshot.pickling.sent_errors import SentTraceback, unpacked_error
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import ExecutorError, UnserializableStateError

if TYPE_CHECKING:
    from asyncio import CancelledError

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._engine.sent_step import StepAnswer
    from aiocheckpoint._model.steps import Step
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.pickling.sent_errors import SentError

__all__ = ["raise_failure", "take_state"]


async def take_state(
    context: RunContext,
    step: Step,
    answer: StepAnswer,
    progress: StepProgress,
    state: dict[str, Any],
) -> None:
    """Put the state that has come back into the dict of the run.

    Args:
        context: The run.
        step: The step.
        answer: The answer, of which no part broke.
        progress: The position in the step, which gets the part that broke here.
        state: The dict of the run.

    Raises:
        UnserializableStateError: It cannot be loaded here.
    """
    if answer.state is None:
        raise AssertionError(step.name)
    modules = context.settings.modules
    try:
        if answer.is_plain:
            made = unpacked_state(answer.state, modules)
        else:
            made = await context.backend.run(unpacked_state, answer.state, modules)
    except UnserializableStateError as error:
        progress.part = "snapshot"
        raise UnserializableStateError(step.name, error.offenders) from error.__cause__
    state.clear()
    state.update(made)


def raise_failure(
    context: RunContext,
    step: Step,
    answer: StepAnswer,
    progress: StepProgress,
    late: CancelledError | None,
) -> NoReturn:
    """Raise what the step has raised, or the error of what cannot be sent.

    Args:
        context: The run.
        step: The step.
        answer: The answer, of which a part broke.
        progress: The position in the step, which gets the part that broke.
        late: A cancellation that came meanwhile. It is raised instead, and the error is its cause.
    """
    if answer.error is not None:
        progress.part = answer.part or "step"
        error = _rebuilt(answer.error, step.name, context.settings.modules)
    elif answer.part == "arrival":
        found = "; ".join(f"{path}: {reason}" for path, reason in answer.offenders)
        error = ExecutorError(
            step.name,
            f"the step cannot be loaded there. {found}. Put what is missing into a module that "
            "the worker can import",
        )
    else:
        progress.part = "snapshot"
        error = UnserializableStateError(step.name, answer.offenders)
    if late is not None:
        raise late from error
    call_enveloped(_raise_error, error)
    raise AssertionError(step.name)


@calls_user_code
def _raise_error(error: BaseException) -> NoReturn:
    raise error


def _rebuilt(sent: SentError, step: str, modules: StepModules) -> BaseException:
    """Rebuild an exception of the step. An error of ours where that is impossible."""
    error = unpacked_error(sent, modules)
    if error is None:
        error = ExecutorError(
            step, f"it raised {sent.kind}, which cannot be sent back. A note has its traceback"
        )
        error.add_note(sent.text)
        for note in sent.notes:
            error.add_note(note)
        error.__cause__ = SentTraceback(sent.text)
    elif isinstance(error, ENDS_OF_STEPS):
        error.__cause__ = None  # It says no more than where the step ended.
    return error
