"""`aiocheckpoint diff`: what changed between two snapshots of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.rendering.diffs import print_diff
from aiocheckpoint._display.run_facts import run_name, signature_of

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]

_BETWEEN = ".."
End = str | int | None


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_runs(parser, most=2)
    parser.run_word = "RUN [FROM..TO]"
    parser.add_argument("--values", action="store_true", help="show values that are plain data")
    add_secret(parser)
    add_output(parser, pager=True)


def _execute(context: Context) -> int:
    run_id, old, new = _asked_for(context.runs)
    context.runs = () if run_id is None else (run_id,)
    store, output = context.store(), context.output
    diff = store.diff(run_id, old, new, flow=context.flow_name, values=context.arguments.values)
    if output.is_text:
        print_diff(diff, output)
        run = store.run(run_id, flow=context.flow_name)
        if run.verified is False:
            output.words(f"{run_name(run)} is {signature_of(run)}.")
    else:
        output.record("diff", diff.to_json())
    return ExitCode.DONE


def _asked_for(words: tuple[str, ...]) -> tuple[str | None, End, End]:
    """The run and the two snapshots. One word with ".." names snapshots of the run without an id.

    Raises:
        UsageProblem: The second word names no two snapshots.
    """
    *runs, between = words if words and _BETWEEN in words[-1] else (*words, _BETWEEN)
    if len(runs) > 1:
        raise UsageProblem(
            f"{runs[1]!r} names no two snapshots. Write FROM..TO, each the name of a step or the "
            "number of a snapshot, such as reserve..charge or 1..3."
        )
    old, _, new = between.partition(_BETWEEN)
    return (runs[0] if runs else None), _end(old), _end(new)


def _end(word: str) -> End:
    return int(word) if word.isascii() and word.isdecimal() else word or None


COMMAND = Command(
    name="diff",
    summary=SUMMARIES["diff"],
    example="aiocheckpoint diff orders.db order-42 reserve..charge --values",
    configure=_configure,
    execute=_execute,
)
