"""The calls that go on with a run, for the last lines of notes and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._engine.resume_command import resume_command
from aiocheckpoint._model.interactive import is_interactive

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.header import Header

__all__ = ["resume_line", "storing_call"]


def resume_line(context: RunContext, stored: Header | None) -> str:
    """The line after a failure, ready to be pasted.

    It is the command of a script or service where that is certain to resume the run, such as
    `python train.py`. Else it is the call, such as `cp.resume('order-42')`.

    Args:
        context: The run.
        stored: The stored header. None where nothing is stored any more.
    """
    try:
        command = resume_command(context, stored)
    except Exception:  # noqa: BLE001 - the user must see the first exception
        command = None
    return command or _resume_call(context, stored)


def _resume_call(context: RunContext, stored: Header | None) -> str:
    """The call. An initial state is called `state`, and given data `data`."""
    request, words = context.request, list[str]()
    method, finished = "run", stored is not None and stored.finished
    if finished:
        method = "read"
    elif stored is None and request.state is not None:
        words.append("state")
    if not finished and request.load_policy != context.settings.load_policy:
        words.append(f"load_policy={request.load_policy!r}")
    if not finished and request.until is not None:
        words.append(f"until={request.until!r}")
    if not finished and request.data is not None:
        words.append("data=data")
    if context.run_id is not None and stored is not None and not finished and not words:
        method, words = "resume", [repr(context.run_id)]  # It never begins the run anew.
    elif context.run_id is not None:
        words.append(f"run_id={context.run_id!r}")
    call, flow = f"{method}({', '.join(words)})", _variable(context)
    return f"{flow}.{call}" if context.backend.loop is None else f"await {flow}.a{call}"


def storing_call(context: RunContext) -> str:
    """The call that stores the state of an `UnserializableStateError` behind its step."""
    header = context.header
    position = len(context.steps) if header.finished else header.position
    run_id = "" if context.run_id is None else f", run_id={context.run_id!r}"
    values = f'{{**error.state, "checkpoint_index": {position}}}'
    call = f"{_variable(context)}.handler.write({values}{run_id})"
    return f"await {call}" if context.run_store.writes_async else call


def _variable(context: RunContext) -> str:
    """The variable of the flow at a prompt. Elsewhere `cp`, as in all examples."""
    if not is_interactive():
        return "cp"
    return context.settings.names.variable("__main__", context.settings, context.steps) or "cp"
