"""What is said where a store, or a filter, leads to no run at all."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from aiocheckpoint._cli.command_parser import nearest
from aiocheckpoint._cli.filters import asks_for_some
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._registry import handler_name_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._cli.context import Context

__all__ = ["empty_words", "say_if_empty", "unfit_words"]

_MOST = 200
"""Files of a directory that are looked into."""


def empty_words(context: Context) -> str:
    """Say that a directory holds no run, and which files in it are stores. "" where it has runs."""
    folder = context.target.text
    if context.target.is_module or not os.path.isdir(folder) or context.store().flows():
        return ""
    found = [*_stores_in(folder)]
    if not found:
        return f"{context.target} has no runs. Is it the directory that the flow was given?"
    one = len(found) == 1
    files = "1 file is a store of its own" if one else f"{len(found)} files are stores of their own"
    return f"{context.target} has no runs. In it {files}. Give {found[0]} as the target."


def say_if_empty(context: Context) -> None:
    """Say it as `empty_words` does."""
    words = empty_words(context)
    if words:
        context.output.words(words)


def unfit_words(context: Context) -> str:
    """Say that no run fits the filters of a command, and which name was probably meant."""
    flow = context.flow_name
    total = context.store().count((), flow=flow).total
    if not asks_for_some(context.filter()) or not total:
        return f"{context.place} has no runs."
    runs = "The one run" if total == 1 else f"None of the {total:,} runs"
    fits = "does not fit the filters" if total == 1 else "fits the filters"
    return f"{runs} in {context.place} {fits}.{_step_hint(context)}{_error_hint(context)}"


def _step_hint(context: Context) -> str:
    flows = context.store().flows()
    known = {*_known(context, "step"), *(step for one in flows for step in one.steps)}
    unknown = [name for name in context.arguments.step if name not in known]
    return "".join(nearest(name, sorted(known)) for name in unknown)


def _error_hint(context: Context) -> str:
    asked: str | None = context.arguments.error
    known = [] if asked is None else _known(context, "error")
    names = {*known, *(one.rpartition(".")[2] for one in known)}
    return "" if asked is None or asked in names else nearest(asked, sorted(names))


def _known(context: Context, fact: str) -> list[str]:
    rows = context.store().count((fact,), flow=context.flow_name).rows
    return [value for (value,), _ in rows if value is not None]


def _stores_in(folder: str) -> Iterator[str]:
    """The files in a directory that are databases, or checkpoints of flows with their own file."""
    with suppress(OSError), os.scandir(folder) as entries:
        names = [one.path for one in entries if one.name[0] != "." and one.is_file()]
        yield from filter(_is_store, islice(sorted(names), _MOST))


def _is_store(path: str) -> bool:
    from aiocheckpoint.look._single_files import snapshot_in_file  # noqa: PLC0415 - seldom needed

    with suppress(CheckpointError, OSError):
        return handler_name_for(path) == "sqlite" or bool(snapshot_in_file(path).library)
    return False
