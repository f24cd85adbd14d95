"""What is said where a run or a store is not there: in words of the shell, with a remedy."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from aiocheckpoint._cli.command_parser import PROGRAM, nearest
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.failures import code_of
from aiocheckpoint._cli.problems import CommandProblem
from aiocheckpoint._cli.shell_words import in_shell_words
from aiocheckpoint._cli.target_hints import module_hint, store_hint
from aiocheckpoint.errors import CheckpointError, RunNotFoundError, SeveralFlowsError, StorageError
from aiocheckpoint.handlers._urls import url_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.context import Context

__all__ = ["explained"]

_MOST = 5_000
"""Runs, the latest begun, that a typo in an id is compared with."""


def explained(error: CheckpointError, context: Context) -> Exception:
    """Give the error to show for one of the library: the same, or one in words of the shell.

    Args:
        error: The error that ended the command.
        context: The command.
    """
    if isinstance(error, RunNotFoundError):
        return _without_run(context) or error
    if isinstance(error, StorageError) and error.errno == errno.ENOENT and _is_missing(context):
        return _without_store(context)
    text = str(error)
    words = in_shell_words(text, context.command)
    return error if words == text else CommandProblem(words, code_of(error))


def _is_missing(context: Context) -> bool:
    text = context.target.text
    is_path = not context.target.is_module and url_scheme(text) is None
    return is_path and not os.path.lexists(text)


def _without_run(context: Context) -> CommandProblem | None:
    """The problem of a run that is not there, or None where its store cannot be read."""
    try:
        ids = _stored_ids(context)
    except CheckpointError:
        return None
    if not ids:
        words = f"{context.place} has no runs."
    elif context.run_id is None:
        has = "one run, with an id" if len(ids) == 1 else "no run without an id"
        words = f"name a run: {context.place} has {has}. The command runs lists the stored runs."
    else:
        words = (
            f"there is no run {context.run_id!r} in {context.place}.{nearest(context.run_id, ids)} "
            "The command runs lists the stored runs."
        )
    return CommandProblem(words, ExitCode.NOT_FOUND)


def _stored_ids(context: Context) -> list[str]:
    store, flows = context.store(), [context.flow_name]
    try:
        views = list(store.runs(flow=flows[0], limit=_MOST))
    except SeveralFlowsError as error:
        views = [view for flow in error.flows for view in store.runs(flow=flow, limit=_MOST)]
    return [view.run_id for view in views if view.run_id is not None]


def _without_store(context: Context) -> CommandProblem:
    text, runs = context.target.text, context.runs
    hint = _swapped(context.command, text, runs) or module_hint(text) or store_hint(text)
    remedy = hint or " Is the path right?"
    return CommandProblem(f"there is no store {text}.{remedy}", ExitCode.NOT_FOUND)


def _swapped(command: str, text: str, runs: Sequence[str]) -> str:
    """Say so where the target stands behind the run."""
    if not runs or not os.path.exists(runs[0]):
        return ""
    return f" The target comes before the run: {PROGRAM} {command} {runs[0]} {text}."
