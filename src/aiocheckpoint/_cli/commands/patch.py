"""`patch`: the stored state of a run is changed by hand, and where it goes on."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.asking import confirmed
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.given import given_values, refuse_both
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.step_words import step_of
from aiocheckpoint._display.run_facts import run_in_question
from aiocheckpoint._runs.single_run import position_of
from aiocheckpoint._snapshot.keys import drop_position
from aiocheckpoint.errors import RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND"]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    add = parser.add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value of the state: JSON, and else text",
    )
    add("--unset", action="append", default=[], metavar="KEY", help="a key to take out")
    add("--goto", metavar="STEP", help="go on at this step; the number of steps finishes the run")
    options.add_reason(parser)
    options.add_yes(parser)
    options.add_output(parser)


def _execute(context: Context) -> int:
    arguments, flow, run_id = context.arguments, context.flow(), context.run_id
    values, unset = given_values("--set", arguments.set), [*dict.fromkeys(arguments.unset)]
    goto = step_of(arguments.goto)
    refuse_both("--set", values, "--unset", unset)
    if not values and not unset and goto is None:
        raise UsageProblem("nothing is to be changed: give --set, --unset or --goto.")
    _show(context, flow, values, unset)
    question = f"Patch {run_in_question(run_id)} in {context.target}?"
    if not confirmed(context.output, question, 1, yes=arguments.yes):
        return ExitCode.FAILED
    header = flow.patch(values, goto, run_id=run_id, unset=unset, reason=arguments.reason)
    outcome = Outcome.of_header(header)
    if context.output.is_text:
        context.output.data(outcome.line)
    else:
        context.output.record("run", outcome.to_json())
    return ExitCode.DONE


def _show(
    context: Context, flow: CheckpointFlow[Any], values: dict[str, Any], unset: list[str]
) -> None:
    """Say what changes, before anybody is asked."""
    header = flow.header(context.run_id)
    if header is None:
        raise RunNotFoundError(flow.handler.locate(context.run_id), "patch")
    state: dict[str, Any] = flow.read(context.run_id)
    drop_position(state)
    for line in _changes(state, values, unset):
        context.output.words(line)
    goto = step_of(context.arguments.goto)
    if goto is not None:
        names = flow.plan(run_id=context.run_id).steps
        before, then = header.next_step, (*names, None)[position_of(names, goto)]
        moved = "" if then == before else f", not at {_step(before)}"
        context.output.words(f"goes on at {_step(then)}{moved}")


def _step(name: str | None) -> str:
    return "the end" if name is None else repr(name)


def _changes(state: dict[str, Any], values: dict[str, Any], unset: list[str]) -> Iterator[str]:
    for key, value in values.items():
        if key not in state:
            yield f"+ {key}  {_shown(value)}"
        else:
            yield f"~ {key}  {_shown(state[key])} -> {_shown(value)}"
    for key in unset:
        if key in state:
            yield f"- {key}  {_shown(state[key])}"


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except Exception as problem:  # noqa: BLE001 - an object of the user's
        return f"<no text: {type(problem).__name__}>"


COMMAND = Command(
    name="patch",
    summary=SUMMARIES["patch"],
    example="aiocheckpoint patch service:cp order-42 --set quantity=2 --goto charge --yes",
    configure=_configure,
    execute=_execute,
)
