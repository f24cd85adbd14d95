"""`plan`: what the next run would do, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli import options
from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.given import given_object
from aiocheckpoint._cli.pause_words import suggest_answer
from aiocheckpoint._cli.refusals import code_of_run
from aiocheckpoint._cli.step_words import add_steps, step_of

if TYPE_CHECKING:
    from aiocheckpoint import Plan
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context

__all__ = ["COMMAND", "plan_as_json"]


def _configure(parser: CommandParser) -> None:
    options.add_target(parser, module=True)
    options.add_runs(parser)
    add_steps(parser)
    parser.add_argument("--state", metavar="JSON|@FILE|-", help="the state that would be given")
    options.add_output(parser)


def _execute(context: Context) -> int:
    arguments = context.arguments
    plan = context.flow().plan(
        given_object("--state", arguments.state),
        checkpoint=step_of(arguments.checkpoint),
        until=step_of(arguments.until),
        run_id=context.run_id,
    )
    if context.output.is_text:
        context.output.block(str(plan))
        if plan.refused is None:
            _say_how_it_stands(context)
    else:
        context.output.record("plan", plan_as_json(plan, context.run_id))
    return ExitCode.DONE if plan.refused is None else code_of_run(plan.refused)


def _say_how_it_stands(context: Context) -> None:
    """Say that the run is a new one, or what answers its pause."""
    header = context.flow().header(context.run_id)
    if header is None and context.run_id is not None:
        context.output.words(f"nothing is stored of {context.run_id}: run would begin a new run.")
    elif header is not None and header.status == "paused" and context.arguments.checkpoint is None:
        suggest_answer(context)


def plan_as_json(plan: Plan, run_id: str | None) -> dict[str, Any]:
    """Give a plan as plain JSON."""
    refused = plan.refused
    return {
        "run_id": run_id,
        "steps": plan.steps,
        "runs": plan.steps[plan.start : plan.stop],
        "loads": [name for name, loads in zip(plan.steps, plan.loads, strict=True) if loads],
        "state": plan.source,
        "fresh": plan.fresh,
        "done": plan.done,
        "reason": plan.reason,
        "migrates": plan.migrates,
        "edited": plan.edited,
        "refused": None if refused is None else type(refused).__name__,
        "words": str(plan),
    }


COMMAND = Command(
    name="plan",
    summary=SUMMARIES["plan"],
    example="aiocheckpoint plan service:cp order-42",
    configure=_configure,
    execute=_execute,
)
