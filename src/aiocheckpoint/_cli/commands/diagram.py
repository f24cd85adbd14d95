"""`aiocheckpoint diagram`: the steps of a flow, or of a run of it, drawn as text or picture."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.command import Command
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.options import add_output, add_runs, add_secret, add_target
from aiocheckpoint._cli.problems import CommandProblem, UsageProblem
from aiocheckpoint._cli.repeated import LEFT_OUT
from aiocheckpoint._display.diagrams.diagram import (
    Diagram,
    DiagramFormat,
    diagram_of_flow,
    diagram_of_run,
    format_of,
)
from aiocheckpoint._display.diagrams.diagram_steps import of_views
from aiocheckpoint._display.run_facts import run_name
from aiocheckpoint.errors import InvalidValueError, RunNotFoundError, StorageError

if TYPE_CHECKING:
    from aiocheckpoint._cli.command_parser import CommandParser
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["COMMAND"]

_PAGES = (".md", ".markdown", ".rst", ".html", ".htm", ".adoc", ".ipynb")
"""Endings of files that have more than a diagram, so that writing one into them loses the rest."""


def _configure(parser: CommandParser) -> None:
    add_target(parser)
    add_runs(parser)
    parser.add_argument(
        "--format",
        choices=("text", "mermaid", "svg"),
        help="text, mermaid (text that GitHub draws) or svg (a picture)",
    )
    parser.add_argument(
        "--check",
        metavar="FILE",
        help="print nothing, and end with 1 where this file is not the diagram of today",
    )
    parser.add_argument(
        "--save",
        metavar="FILE",
        help="write the diagram into this file, and leave an old one as it is where that fails",
    )
    add_secret(parser)
    add_output(parser)


def _execute(context: Context) -> int:
    arguments = context.arguments
    if arguments.check is not None and arguments.save is not None:
        raise UsageProblem("--check and --save exclude each other: leave one of the two out.")
    chosen = _format(context)
    diagram, facts = _drawn(context)
    if arguments.check is not None:
        return _check(diagram, chosen, arguments.check, context)
    if arguments.save is not None:
        _save(diagram, chosen, arguments.save, context.output)
    else:
        _print(diagram, chosen, facts, context.output)
    return ExitCode.DONE


def _file(context: Context) -> str | None:
    """The file that is checked or written."""
    arguments = context.arguments
    file: str | None = arguments.save if arguments.check is None else arguments.check
    return file


def _format(context: Context) -> DiagramFormat:
    """The format that is asked for, or that of the file.

    Raises:
        UsageProblem: The file is a page with more than a diagram, its ending says no format, or
            a picture is asked for as JSON.
    """
    asked, file = context.arguments.format, _file(context)
    if file is not None and file.lower().endswith(_PAGES):
        raise UsageProblem(
            f"{file} is a page, which has more than the diagram. Keep the diagram in a file of its "
            "own, such as flow.svg, and show that in the page."
        )
    if asked is None and file is not None:
        try:
            return format_of(file)
        except InvalidValueError:
            raise UsageProblem(
                f"the ending of {file} says no format, as .svg, .mmd and .txt do. Add --format."
            ) from None
    chosen: DiagramFormat = asked or "text"
    if chosen != "text" and file is None and not context.output.is_text:
        raise UsageProblem(
            f"--format {chosen} is a text of its own, and --output {context.output.form} gives the "
            "steps. Leave one of the two out."
        )
    return chosen


def _drawn(context: Context) -> tuple[Diagram, dict[str, Any]]:
    """The diagram, and what JSON says of it."""
    of_code, run = _diagram_of_code(context), _run_of(context)
    if run is not None and run.damage is not None:
        raise CommandProblem(
            f"{run_name(run)} is damaged, so that its steps are unknown: {run.damage}",
            ExitCode.DAMAGED,
        )
    if run is not None:
        facts = {"flow": run.flow, "run": run.run_id, "status": run.status}
        return diagram_of_run(run, () if of_code is None else of_code.all_steps), facts
    if of_code is not None:
        return of_code, {"flow": context.flow().name}
    newest = _newest_run(context)
    diagram = diagram_of_flow(newest.flow, of_views(newest.steps), newest.step_count)
    return diagram, {"flow": newest.flow}


def _diagram_of_code(context: Context) -> Diagram | None:
    return context.flow().diagram() if context.target.is_module else None


def _run_of(context: Context) -> RunView | None:
    """The run that is named. Of a bare store also the run without an id, if there is one."""
    if context.runs:
        try:
            return context.store().run(context.run_id, flow=context.flow_name)
        except RunNotFoundError:
            _refuse_second_file(context)
            raise
    if context.target.is_module:
        return None
    try:
        return context.store().run(None, flow=context.flow_name)
    except RunNotFoundError:
        return None


def _refuse_second_file(context: Context) -> None:
    """Refuse a run that is missing and named like a file, behind `--check` or `--save`."""
    word, file = context.runs[0], _file(context)
    with suppress(InvalidValueError):
        if file is not None and format_of(word):
            raise UsageProblem(
                f"{word} is taken for a run, and there is none: one call takes one file, here "
                f"{file}. Call it again for {word}."
            )


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


def _print(diagram: Diagram, chosen: DiagramFormat, facts: dict[str, Any], output: Output) -> None:
    steps = [one.to_json() for one in diagram.steps]
    if output.form == "json":
        output.json({"diagram": {**facts, "steps": steps}})
    elif output.form == "jsonl":
        for one in steps:
            output.jsonl(one)
    elif chosen == "text" and not output.terminal.unicode:
        output.block(diagram.ascii)
    else:
        output.block(diagram.drawn(chosen))


def _check(diagram: Diagram, chosen: DiagramFormat, file: str, context: Context) -> int:
    """Compare the diagram with a file, and say how to renew it."""
    is_current = _holds(file, f"{diagram.drawn(chosen)}\n")
    output = context.output
    if not output.is_text:
        output.record("diagram", {"checked": file, "current": is_current})
    if is_current:
        return ExitCode.DONE
    if os.path.lexists(file):
        output.words(f"{file} is not the diagram of {context.target} as it is today.")
        remedy = "Draw it anew"
    else:
        output.words(f"{file} is missing.")
        remedy = "Draw it"
    words = [*_drawing_words(context, chosen), "--save", file]
    if context.target.word is not None and all(map(str.isprintable, words)):
        output.words(f"{remedy}: {shlex.join(words)}")
        if context.target.word != context.target.text:
            output.words(LEFT_OUT)
    return ExitCode.FAILED


def _save(diagram: Diagram, chosen: DiagramFormat, file: str, output: Output) -> None:
    """Write the diagram into a file, whole or not at all.

    Raises:
        CommandProblem: It cannot be written.
    """
    try:
        diagram.save(file, chosen)
    except StorageError as error:
        raise CommandProblem(str(error)) from None
    if output.is_text:
        output.words(f"{file} was written.")
    else:
        output.record("diagram", {"saved": file})


def _drawing_words(context: Context, chosen: DiagramFormat) -> list[str]:
    """The command that draws the same."""
    target = context.target.word or ""
    words = ["aiocheckpoint", "diagram", target, *context.runs, "--format", chosen]
    for option in ("flow", "app_dir"):
        value = getattr(context.arguments, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", value]
    return [*words, "--factory"] if context.arguments.factory else words


def _holds(file: str, text: str) -> bool:
    """Whether a file holds this text, with line ends of any system.

    Raises:
        CommandProblem: It cannot be read.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.read(len(text) + 1) == text
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    except OSError as error:
        raise CommandProblem(f"{file} cannot be read: {error.strerror}.") from None


COMMAND = Command(
    name="diagram",
    summary=SUMMARIES["diagram"],
    example="aiocheckpoint diagram orders.db order-42",
    configure=_configure,
    execute=_execute,
)
