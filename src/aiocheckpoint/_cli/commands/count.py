"""`aiocheckpoint count`: how many runs there are of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.command_parser import nearest
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.nothing_found import empty_words, unfit_words
from aiocheckpoint._cli.options import add_filters, add_output, add_secret, add_target
from aiocheckpoint._cli.output import Cell, Column, Output
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._texts import type_shown
from aiocheckpoint.handlers import CountBy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.look import CountView

__all__ = ["COMMAND"]

_FACTS: tuple[str, ...] = get_args(CountBy)


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    parser.add_argument(
        "--by",
        action="append",
        metavar="WORDS",
        help="status, step, error or day, or several with commas (status)",
    )
    add_filters(parser)
    add_secret(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    words = ",".join(context.arguments.by or ["status"]).replace(" ", "").split(",")
    for word in words:
        if word not in _FACTS:
            raise UsageProblem(
                f"runs are not counted by {word!r}.{nearest(word, _FACTS)} "
                f"Count them by {', '.join(_FACTS)}, or several of these."
            )
    counts = context.store().count(words, context.filter(), flow=context.flow_name)
    if not counts.total:
        context.check_flow()
        context.output.words(empty_words(context) or unfit_words(context))
    _print(counts, context.output)
    return ExitCode.DONE


def _print(counts: CountView, output: Output) -> None:
    if output.form == "json":
        output.json({"count": counts.to_json()})
    elif output.form == "jsonl":
        for values, number in counts.rows:
            output.jsonl({**dict(zip(counts.by, values, strict=True)), "runs": number})
    else:
        columns = [Column("RUNS", right=True)]
        columns += [
            Column(word.upper(), cut="start" if word == "error" else "middle") for word in counts.by
        ]
        rows = (_row(number, values, counts.by, output) for values, number in counts.rows)
        output.table(columns, rows, titled=False)


def _row(
    number: int, values: Sequence[str | None], by: Sequence[str], output: Output
) -> list[Cell]:
    row: list[Cell] = [f"{number:,}"]
    for word, value in zip(by, values, strict=True):
        shown = "-" if value is None else value
        if word == "error":
            shown = type_shown(shown)
        row.append(output.status(shown) if word == "status" else shown)
    return row


COMMAND = Command(
    name="count",
    summary=SUMMARIES["count"],
    example="aiocheckpoint count orders.db --by step,error --status failed",
    configure=_configure,
    execute=_execute,
)
