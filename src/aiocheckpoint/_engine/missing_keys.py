"""The note on a `KeyError` of a step that lacks a key which a loader would have brought."""

from __future__ import annotations

import ast
import linecache
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.failure_texts import MISSING_KEY

if TYPE_CHECKING:
    from types import TracebackType

    from aiocheckpoint._engine.context import RunContext, StepProgress

__all__ = ["is_missing_key", "missing_key_note"]

_LONGEST_KEY = 200


def _why_missing(context: RunContext, index: int) -> str:
    for step in context.steps[:index]:
        if step.executor is not None:
            return f"Step {step.name!r} is executed by executor=, and leaves nothing in `data`"
    return "In a resumed run, `data` has what loaders bring"


def missing_key_note(
    context: RunContext, progress: StepProgress, error: BaseException
) -> str | None:
    """Give the note, or None where the error has another reason.

    The error must be raised by a look-up in `data` itself, in a step that has no loader or whose
    loader was not called.
    """
    if progress.loads or not is_missing_key(error, context.data):
        return None
    key, step = error.args[0], context.steps[progress.index]
    if step.load is None:
        return (
            f"{MISSING_KEY}{key!r}, and step {step.name!r} has no loader. "
            f"{_why_missing(context, progress.index)}. Add one with "
            f"@cp.add_step(load=..., needs=({key!r},)), or start at an earlier step by checkpoint=."
        )
    return (
        f"{MISSING_KEY}{key!r}, and the loader of step {step.name!r} was not "
        f"called. @cp.add_step(load=..., needs=({key!r},)) calls it whenever that key is missing, "
        "and load_policy='always' in every run."
    )


def is_missing_key(error: BaseException, data: dict[str, Any]) -> bool:
    """Whether an exception is that of a look-up in `data` itself, of a key that it lacks."""
    if type(error) is not KeyError or len(error.args) != 1:
        return False
    key = error.args[0]
    if not isinstance(key, str) or len(key) > _LONGEST_KEY:
        return False
    try:
        return key not in data and _is_look_up(error.__traceback__, data)
    except Exception:  # noqa: BLE001 - odd sources and objects of users must not hide the error
        return False


def _is_look_up(traceback: TracebackType | None, data: dict[str, Any]) -> bool:
    """Whether the source shows that the expression that failed looks a key up in `data` itself."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    # A dict raises no error in a frame of its own, so its user is the innermost frame.
    frame = traceback.tb_frame
    try:
        # The parentheses let it go over several lines.
        expression = ast.parse(f"({_source(traceback)})", mode="eval").body
    except (SyntaxError, ValueError):
        return False
    name = _looked_in(expression)
    return isinstance(name, ast.Name) and (
        frame.f_locals.get(name.id, frame.f_globals.get(name.id)) is data
    )


def _looked_in(expression: ast.expr) -> ast.expr | None:
    """The part of an expression in which it looks a key up. None where unknown."""
    match expression:
        case (
            ast.Subscript(value=found)
            | ast.BinOp(left=ast.Constant(), op=ast.Mod(), right=found)
            | ast.Call(keywords=[ast.keyword(arg=None, value=found)])
            | ast.Call(func=ast.Attribute(attr="format_map"), args=[found])
            | ast.Call(func=ast.Attribute(value=ast.Name() as found))
            | ast.Call(func=ast.Name() | ast.Call(), args=[found], keywords=[])
        ):
            return found
        case _:
            return None


def _source(traceback: TracebackType) -> str:
    """The text of the expression that failed, or an empty one."""
    code = traceback.tb_frame.f_code
    places = islice(code.co_positions(), traceback.tb_lasti // 2, None)
    first, last, begin, end = next(places, (None, None, None, None))
    if first is None or last is None:
        return ""
    numbers = range(first, last + 1)
    names = traceback.tb_frame.f_globals
    lines = [linecache.getline(code.co_filename, number, names).encode() for number in numbers]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    return b"".join(lines).decode(errors="replace")
