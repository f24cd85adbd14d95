"""The shell commands that go on with a run, for the last lines of notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._engine.program import is_temporary, script_command
from aiocheckpoint._model.interactive import is_interactive

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.header import Header

__all__ = ["resume_command"]


def resume_command(context: RunContext, stored: Header | None) -> str | None:
    """The command after a failure, quoted for a POSIX shell, such as `python train.py`.

    Args:
        context: The run.
        stored: The stored header. None where nothing is stored any more.

    Returns:
        The command. None where no command is certain to resume the run. A wrong one is worse than
        none.
    """
    port, finished = context.run_store.port, stored is not None and stored.finished
    if finished or port is None or not port.outlives_process or is_interactive():
        return None
    if is_temporary(context.run_store.location) or not (context.run_id or "-").isprintable():
        return None
    words = _script_command(context)
    if words is None and stored is not None:
        words = _target_command(context)
    if words is None:
        return None
    import shlex  # noqa: PLC0415 - no run needs it that does not break

    return shlex.join(words)


def _script_command(context: RunContext) -> list[str] | None:
    """The command of the script that has called the run, which calls it in the same way again."""
    request = context.request
    is_plain = request.checkpoint is None and not request.is_answer
    if not is_plain or request.unattended or request.recovery is not None:
        return None
    return script_command(context.run_id)


def _target_command(context: RunContext) -> list[str] | None:
    """The command that resumes the stored run by the target of its flow."""
    request, run_id, words = context.request, context.run_id, list[str]()
    if request.load_policy != context.settings.load_policy or request.data is not None:
        return None
    if request.until is not None:
        until = request.until
        name = until if isinstance(until, str) else context.steps.names.all[until]
        words = ["--until", name]
        if name.startswith("-") or name.lstrip("+").isdecimal() or not name.isprintable():
            return None
    target = context.settings.names.target(context.settings, context.steps)
    if target is None or run_id == "-":  # It stands for the ids of the standard input.
        return None
    command = "run" if run_id is None or words else "resume"
    words = ["aiocheckpoint", command, *words, target]
    if run_id is not None:
        words += ["--", run_id] if run_id.startswith("-") else [run_id]
    return words
