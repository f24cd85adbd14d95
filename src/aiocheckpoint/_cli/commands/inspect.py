"""`aiocheckpoint inspect`: the snapshot in a single file, with its digests checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.given_secrets import secrets_of
from aiocheckpoint._cli.options import add_output, add_secret, add_target
from aiocheckpoint._cli.output import Cell, Column, Output
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._display.run_facts import place_of_run, run_name, signature_of
from aiocheckpoint._display.times import ago, clock
from aiocheckpoint._display.values import shown_value
from aiocheckpoint._texts import type_shown
from aiocheckpoint.handlers._registry import handler_name_for
from aiocheckpoint.handlers._urls import absolute_path, url_scheme
from aiocheckpoint.look._single_files import snapshot_in_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    parser.add_argument("--values", action="store_true", help="show values that are plain data")
    add_secret(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    run = snapshot_in_file(
        _file_of(context), secret=secrets_of(context.arguments), values=context.arguments.values
    )
    if context.output.is_text:
        _print(run, context.output)
    else:
        context.output.record("run", run.to_json())
    return ExitCode.DONE if run.damage is None else ExitCode.DAMAGED


def _file_of(context: Context) -> str:
    """The path of the file.

    Raises:
        UsageProblem: The target is no file, or a store of many runs.
    """
    text = context.target.text
    path = absolute_path(text)
    is_file = not context.target.is_module and url_scheme(text) is None
    if not is_file or os.path.isdir(path) or handler_name_for(path) == "sqlite":
        raise UsageProblem(
            f"inspect takes the file of one snapshot, and {context.target} is none. Look at a run "
            "of a store by show, and check all of them by verify."
        )
    return path


def _print(run: RunView, output: Output) -> None:
    output.table([Column(""), Column("")], _facts(run, output), titled=False)
    if run.keys is None:
        return
    columns = [Column("KEY", cut="middle"), Column("TYPE"), Column("BYTES", right=True)]
    columns += [Column("DIGEST"), *([Column("VALUE", cut="middle")] if _has_values(run) else [])]
    output.table(columns, _keys(run))
    if not run.complete:
        output.words("The state is too large to be read as a whole: there are more keys.")


def _facts(run: RunView, output: Output) -> Iterator[list[Cell]]:
    yield ["file", run.location]
    yield ["run", f"{run_name(run)} of {run.flow or '?'}"]
    yield ["snapshot", f"{run.sequence} of run {run.number}, {run.size:,} bytes"]
    yield ["status", output.status(run.status)]
    if run.step is not None:
        yield ["stands at", place_of_run(run)]
    if run.failure is not None:
        yield ["broke on", f"{type_shown(run.failure.type)} in its part {run.failure.part!r}"]
    if run.library:
        yield ["began", clock(run.started_at)]
        versions = f"aiocheckpoint {run.library}, Python {run.python}, dill {run.dill}"
        yield ["written", f"{ago(run.written_at)} by {versions}"]
    yield ["holds", ", ".join(_held(run))]
    yield ["signature", signature_of(run) or "none"]
    yield ["digests", "right" if run.damage is None else f"damaged: {run.damage}"]


def _held(run: RunView) -> Iterator[str]:
    yield "a state"
    if run.holds_data:
        yield "data"
    if run.code:
        yield "functions or classes by value"


def _has_values(run: RunView) -> bool:
    return any(one.shown for one in run.keys or ())


def _keys(run: RunView) -> Iterator[list[Cell]]:
    for one in run.keys or ():
        value = [shown_value(one.value)] if one.shown else []
        yield [one.key, one.type, f"{one.size:,}", one.digest, *value]


COMMAND = Command(
    name="inspect",
    summary=SUMMARIES["inspect"],
    example="aiocheckpoint inspect checkpoint.pkl",
    configure=_configure,
    execute=_execute,
)
