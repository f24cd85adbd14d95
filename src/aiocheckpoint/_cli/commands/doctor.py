"""`aiocheckpoint doctor`: what is wrong with a store before it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.nothing_found import empty_words
from aiocheckpoint._cli.options import add_output, add_secret, add_target
from aiocheckpoint._cli.shell_words import in_shell_words
from aiocheckpoint.look import FindingView, check_store
from aiocheckpoint.look._places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Cell, Output

__all__ = ["COMMAND"]

_UNSEEN = "Whether a flow has fsync=False cannot be seen in a bare store."


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_secret(parser)
    add_output(parser)


def _execute(context: Context) -> int:
    output, named = context.output, context.flow_name
    found = [*_of_the_flow(context), *check_store(context.store())]
    findings = [one for one in found if named is None or one.flow in (None, "", named)]
    if output.is_text:
        none = empty_words(context) or f"{context.store().place}: nothing is wrong."
        _print(findings, none, output)
        if not context.target.is_module and place_of(context.store()).kind != "elsewhere":
            output.words(_UNSEEN)
    else:
        output.records("findings", (one.to_json() for one in findings))
    return ExitCode.DONE if all(one.hint for one in findings) else ExitCode.FAILED


def _of_the_flow(context: Context) -> Iterator[FindingView]:
    """What only the code of a flow says of its store."""
    if context.target.is_module and getattr(context.flow().handler, "fsync", True) is False:
        yield FindingView(
            kind="durability",
            problem=f"The flow {context.flow().name!r} has fsync=False, so that a power cut may "
            "lose snapshots.",
            remedy="Take fsync=False out where that matters.",
            flow=context.flow().name,
        )


def _print(findings: list[FindingView], if_none: str, output: Output) -> None:
    for one in findings:
        sign: Cell = "good to know:" if one.hint else output.sign("damaged")
        output.data(sign, f" {one.problem} {in_shell_words(one.remedy)}")
    if all(one.hint for one in findings):
        output.words(if_none)


COMMAND = Command(
    name="doctor",
    summary=SUMMARIES["doctor"],
    example="aiocheckpoint doctor orders.db",
    configure=_configure,
    execute=_execute,
)
