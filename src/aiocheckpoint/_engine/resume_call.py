"""The calls that go on with a run, for the last lines of notes and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.header import Header

__all__ = ["resume_call", "storing_call"]


def resume_call(context: RunContext, stored: Header | None) -> str:
    """The call after a failure, ready to be pasted, such as `cp.run(run_id='order-42')`.

    The flow is called `cp`, as in all examples, an initial state `state`, and given data `data`.

    Args:
        context: The run.
        stored: The stored header. None where nothing is stored any more.
    """
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
    if context.run_id is not None:
        words.append(f"run_id={context.run_id!r}")
    call = f"{method}({', '.join(words)})"
    return f"cp.{call}" if context.backend.loop is None else f"await cp.a{call}"


def storing_call(context: RunContext) -> str:
    """The call that stores the state of an `UnserializableStateError` behind its step."""
    header = context.header
    position = len(context.steps) if header.finished else header.position
    run_id = "" if context.run_id is None else f", run_id={context.run_id!r}"
    call = f'cp.handler.write({{**error.state, "checkpoint_index": {position}}}{run_id})'
    return f"await {call}" if context.run_store.writes_async else call
