"""`aiocheckpoint diagram`: the steps of a flow, or of a run of it, drawn as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.problems import CommandProblem
from aiocheckpoint._display import diagram_steps, diagram_text
from aiocheckpoint._display.run_facts import run_name
from aiocheckpoint._texts import counted
from aiocheckpoint.errors import RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint._display.diagram_steps import DiagramStep
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_runs(parser)
    add_secret(parser)
    add_output(parser)


def _execute(context: Context) -> int:
    of_code, run = _steps_of_code(context), _run_of(context)
    if run is not None and run.damage is not None:
        raise CommandProblem(
            f"{run_name(run)} is damaged, so that its steps are unknown: {run.damage}",
            ExitCode.DAMAGED,
        )
    if run is not None:
        steps = diagram_steps.folded(diagram_steps.of_run(run, of_code), run.position)
        facts = {"flow": run.flow, "run": run.run_id, "status": run.status}
        title = f"{run_name(run)} of {run.flow}: {run.status}"
        _print(title, facts, steps, run.step_count, context.output)
    elif context.target.is_module:
        _print_flow(context.flow().name, of_code, len(of_code), context.output)
    else:
        newest = _newest_run(context)
        count = newest.step_count or len(newest.steps)
        _print_flow(newest.flow, diagram_steps.of_views(newest.steps), count, context.output)
    return ExitCode.DONE


def _steps_of_code(context: Context) -> tuple[DiagramStep, ...]:
    if not context.target.is_module:
        return ()
    flow = context.flow()
    core = flow._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - nothing lists steps
    return diagram_steps.of_steps(core.registry.steps)


def _run_of(context: Context) -> RunView | None:
    """The run that is named. Of a bare store also the run without an id, if there is one."""
    if context.runs:
        return context.store().run(context.run_id, flow=context.flow_name)
    if context.target.is_module:
        return None
    try:
        return context.store().run(None, flow=context.flow_name)
    except RunNotFoundError:
        return None


def _newest_run(context: Context) -> RunView:
    """The run that began last, whose steps are those of the flow.

    Raises:
        CommandProblem: There is none, or it names no steps.
        SeveralFlowsError: The store has several flows, and none is named.
    """
    for run in context.store().runs(flow=context.flow_name, limit=1, damaged=False):
        if run.steps:
            return run
    raise CommandProblem(
        f"no steps are known of {context.place}. Name a run, or give the target as "
        "package.module:attribute.",
        ExitCode.NOT_FOUND,
    )


def _print_flow(name: str, steps: Sequence[DiagramStep], count: int, output: Output) -> None:
    title = f"{name}: {counted(count, 'step')}"
    _print(title, {"flow": name}, diagram_steps.folded(steps), count, output)


def _print(
    title: str,
    facts: dict[str, str | None],
    steps: Sequence[DiagramStep],
    count: int | None,
    output: Output,
) -> None:
    if output.form == "text":
        strokes = diagram_text.LINES if output.terminal.unicode else diagram_text.ASCII
        output.data(title)
        drawn = diagram_text.draw(
            steps, count, strokes=strokes, sign=lambda status: output.sign(status).text
        )
        output.block(drawn)
    elif output.form == "json":
        output.json({"diagram": {**facts, "steps": [one.to_json() for one in steps]}})
    else:
        for one in steps:
            output.jsonl(one.to_json())


COMMAND = Command(
    name="diagram",
    summary=SUMMARIES["diagram"],
    example="aiocheckpoint diagram orders.db order-42",
    configure=_configure,
    execute=_execute,
)
