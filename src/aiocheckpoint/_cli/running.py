"""Running one run on a loop: stopped by signals in good order, and shown with its end."""

from __future__ import annotations

import signal
import traceback
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.refusals import is_of_step
from aiocheckpoint._cli.signals import Stoppable
from aiocheckpoint._model.failure_texts import CANCELLATIONS
from aiocheckpoint.errors import CheckpointError, GivenStateIgnoredWarning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output

__all__ = ["run_one"]

_CANCELS = frozenset({signal.SIGINT})


def run_one(context: Context, call: Callable[[CheckpointFlow[Any]], Awaitable[object]]) -> int:
    """Run the run of a command, and show how it ended.

    SIGINT cancels the step in progress, and SIGTERM drains the flow. The run is stored in both
    cases, and the exit code is that of the signal.

    Args:
        context: The command. Its run is the one that is run.
        call: Runs it, by a method of the flow.

    Returns:
        The exit code.

    Raises:
        CheckpointError: The run is refused.
    """
    flow, output = context.flow(), context.output
    stoppable = Stoppable(flow, output.words, _CANCELS)

    async def work() -> Outcome:
        async with flow:
            await call(flow)
            return Outcome.of_stored(context.run_id, await flow.aheader(context.run_id))

    try:
        with output.alone(), _told_conflicts(output):
            outcome = stoppable.run(work)
    except CANCELLATIONS:
        code = stoppable.exit_code or ExitCode.INTERRUPTED
        _show(output, _stored(flow, context.run_id)._replace(code=ExitCode(code)))
        return code
    except BaseException as error:
        outcome = Outcome.of_error(context.run_id, error)
        if outcome.status == "refused":
            raise
        if outcome.status == "failed":  # Also by `sys.exit(0)` in a step: the run has not finished.
            _tell(output, error)
    if outcome.status == "stopped" and outcome.error is not None and stoppable.received:
        outcome = outcome._replace(code=ExitCode(128 + stoppable.received[0]))
    _show(output, outcome)
    return outcome.code


def _show(output: Output, outcome: Outcome) -> None:
    if output.is_text:
        output.words(outcome.line)
    else:
        output.record("run", outcome.to_json())


def _stored(flow: CheckpointFlow[Any], run_id: str | None) -> Outcome:
    """Describe a run that was cancelled by what is stored of it, as far as it can be read."""
    with suppress(CheckpointError):
        header = flow.header(run_id)
        if header is not None:
            return Outcome.of_header(header)
    return Outcome(run_id, "cancelled")


def _tell(output: Output, error: BaseException) -> None:
    """Print an exception of a step as Python does, without the frames of the command."""
    if is_of_step(error):
        lines = traceback.format_exception(type(error), error, _frames_of_user(error))
        output.words(*"".join(lines).rstrip("\n").split("\n"))
    else:
        output.words(f"aiocheckpoint: {error}")


def _frames_of_user(error: BaseException) -> TracebackType | None:
    """The traceback from the user's code on, or the whole one where there is none of it."""
    frame = error.__traceback__
    while frame is not None and _is_machinery(frame.tb_frame.f_globals.get("__name__")):
        frame = frame.tb_next
    return frame or error.__traceback__


def _is_machinery(module: str | None) -> bool:
    return (module or "").partition(".")[0] in {"aiocheckpoint", "asyncio"}


@contextmanager
def _told_conflicts(output: Output) -> Generator[None, None, None]:
    """Say a `GivenStateIgnoredWarning` without the line of the command that has passed it on."""
    before = warnings.showwarning

    def show(  # noqa: PLR0917 - the arguments of `warnings.showwarning`
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, GivenStateIgnoredWarning):
            output.words(f"warning: {message}")
        else:
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
