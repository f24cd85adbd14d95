"""`submit`: runs are queued for workers."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.given import given_object, given_pairs
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.reports import Report
from aiocheckpoint._cli.times import parse_due

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime, timedelta

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]

_TOGETHER = 500
"""Runs that are stored together. The results of earlier ones are shown when a line is wrong."""


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    add = parser.add_argument
    add("--state", metavar="JSON|@FILE|-", help="the state of the run that is named")
    add(
        "--due",
        metavar="TIME",
        type=parse_due,
        help="no worker begins it before: 2h from now, or 2026-11-30T10:44Z",
    )
    options.add_output(parser)


def _execute(context: Context) -> int:
    run_id, flow, report = context.run_id, context.flow(), Report(context.output)
    if run_id is None or run_id == "-":
        if context.arguments.state is not None:
            raise UsageProblem("--state is the state of one run: name the run.")
        return _submit_lines(context, report)
    state = given_object("--state", context.arguments.state)
    if state is None:
        raise UsageProblem("give the state of the run by --state, such as '{\"total\": 7}'.")
    header = flow.submit(state, run_id=run_id, due=context.arguments.due)
    report.add(Outcome(run_id, header.status))
    report.end()
    return ExitCode.DONE


def _submit_lines(context: Context, report: Report) -> int:
    """Submit the pairs of stdin. A wrong line ends it, and the lines before it are submitted."""
    if sys.stdin.isatty():
        context.output.words('Reads lines such as ["order-42", {"total": 7}], until Ctrl-D.')
    pairs = _Pairs(given_pairs(sys.stdin))
    waiting = iter(pairs)
    while some := list(islice(waiting, _TOGETHER)):
        _submit(context.flow(), some, context.arguments.due, report)
    report.end()
    if pairs.problem is not None:
        raise pairs.problem
    return report.code(of_one=False)


class _Pairs:
    """Pairs up to the first wrong line, whose problem is kept for the end."""

    def __init__(self, pairs: Generator[tuple[str, dict[str, Any]], None, None]) -> None:
        self.problem: UsageProblem | None = None
        self._pairs = pairs

    def __iter__(self) -> Generator[tuple[str, dict[str, Any]], None, None]:
        try:
            yield from self._pairs
        except UsageProblem as problem:
            self.problem = problem


def _submit(
    flow: CheckpointFlow[Any],
    pairs: list[tuple[str, dict[str, Any]]],
    due: timedelta | datetime | None,
    report: Report,
) -> None:
    for result in flow.submit(pairs, due=due):
        if result.error is not None:
            report.add(Outcome.of_error(result.run_id, result.error))
        else:
            report.add(Outcome(result.run_id, result.status or "queued"))


COMMAND = Command(
    name="submit",
    summary=SUMMARIES["submit"],
    example="""aiocheckpoint submit service:cp order-71 --state '{"item": "mug", "quantity": 2}'""",
    configure=_configure,
    execute=_execute,
)
