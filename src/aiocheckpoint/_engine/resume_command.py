"""The shell commands that go on with a run, for the last lines of notes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from aiocheckpoint._engine.program import calling_script, is_temporary
from aiocheckpoint._model.interactive import is_interactive

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._engine.program import CallingScript
    from aiocheckpoint._model.header import Header

__all__ = ["resume_command", "words_of_run"]


def resume_command(context: RunContext, stored: Header | None) -> str | None:
    """The command after a failure, quoted for a POSIX shell, such as `python train.py`.

    Args:
        context: The run.
        stored: The stored header. None where nothing is stored any more.

    Returns:
        The command, or a comment that names a script whose arguments are not shown, as they may be
        secrets. None where no command is certain to resume the run. A wrong one is worse than none.
    """
    port, finished = context.run_store.port, stored is not None and stored.finished
    if finished or port is None or not port.outlives_process or is_interactive():
        return None
    if is_temporary(context.run_store.location) or not (context.run_id or "-").isprintable():
        return None
    script, named = _script(context), [] if context.run_id is None else [context.run_id]
    if script is not None and script.arguments == named:
        return shlex.join([*script.command, *script.arguments])
    words = None if stored is None else _target_command(context)
    if words is not None:
        return shlex.join(words)
    return None if script is None else _comment(script, named)


def _comment(script: CallingScript, named: list[str]) -> str | None:
    """Name a script that was started with arguments. A shell and Python do nothing at a comment.

    An id that is none of the arguments may be another one the next time.
    """
    is_certain = script.arguments and set(named) <= set(script.arguments)
    if not is_certain or not all(map(str.isprintable, script.command)):
        return None
    return f"# {shlex.join(script.command)}, with the same arguments"


def _script(context: RunContext) -> CallingScript | None:
    """The script that has called the run, where it calls it in the same way again."""
    request = context.request
    is_plain = request.checkpoint is None and not request.is_answer
    if not is_plain or request.unattended or request.recovery is not None:
        return None
    return calling_script()


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
    return [*words, *words_of_run(run_id)]


def words_of_run(run_id: str | None) -> list[str]:
    """The last words of a command for a run. An id must never be taken for an option."""
    if run_id is None:
        return []
    return ["--", run_id] if run_id.startswith("-") else [run_id]
