"""One run as text: how it stands, its steps, its state in bytes, what it broke on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiocheckpoint._cli.output import Cell, Column, Output, Styled
from aiocheckpoint._display.cards.run_details import facts_of
from aiocheckpoint._display.figures import amount_shown
from aiocheckpoint._display.run_facts import note_of, standing_at_step
from aiocheckpoint._display.times import about_left, ago, now, took_exactly
from aiocheckpoint._display.values import shown_value
from aiocheckpoint._texts import type_shown
from aiocheckpoint.look._time_left import run_left, step_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint.look import KeyView, ProgressView, RunView, SnapshotView, StepView

__all__ = ["print_failure", "print_history", "print_run"]


def print_run(run: RunView, output: Output) -> None:
    """Print how a run stands, its steps, and the sizes of its state."""
    output.data(*_standing(run))
    if run.damage is not None:
        output.data(f"damaged: {run.damage}")
        return
    output.data(", ".join(facts_of(run)))
    first = run.steps[0].index if run.steps else 0
    if first:
        output.data(f"  ({first:,} earlier steps are not recorded)")
    columns = [Column("", gap=" "), Column("", cut="middle"), Column("", right=True), Column("")]
    rows: Iterator[list[Cell]] = (
        [output.sign(one.status), one.name, _time_of(one), _more(one, run)] for one in run.steps
    )
    output.table(columns, rows, titled=False, indent="  ")
    if run.keys is not None:
        _print_values(run.keys, output)
    elif run.sizes is not None:
        sizes = ", ".join(f"{key} {size:,} B" for key, size in run.sizes.items())
        output.data(f"state: {sizes or 'empty'}")
    if run.progress is not None and run.progress.cursor_size is not None:
        output.data(_cursor_of(run.progress))


def _cursor_of(progress: ProgressView) -> str:
    if progress.shown:
        return f"cursor: {json.dumps(progress.cursor, ensure_ascii=False)}"
    return f"cursor: {progress.cursor_size:,} B"


def _print_values(keys: Sequence[KeyView], output: Output) -> None:
    columns = [
        Column("KEY", cut="middle"),
        Column("TYPE", cut="start"),
        Column("BYTES", right=True),
        Column("VALUE", cut="middle"),
    ]
    rows = ([one.key, one.type, f"{one.size:,}", shown_value(one.value)] for one in keys)
    output.table(columns, rows)


def print_history(kept: Sequence[SnapshotView], output: Output) -> None:
    """Print the kept snapshots of a run.

    Args:
        kept: The snapshots, the newest first.
        output: The output.
    """
    columns = [
        Column("SNAPSHOT", right=True),
        Column("STATUS"),
        Column("ON ENTRY TO", cut="middle"),
        Column("WROTE"),
        Column("BYTES", right=True),
    ]
    output.table(columns, (_history_row(one, output) for one in kept))


def _history_row(one: SnapshotView, output: Output) -> list[Cell]:
    status = output.status(one.status)
    return [f"{one.sequence}", status, one.step or "-", ago(one.written_at), f"{one.size:,}"]


def _standing(run: RunView) -> Iterator[Cell]:
    named = "the run without an id" if run.run_id is None else run.run_id
    yield f"{named} of {run.flow or 'an unknown flow'}: "
    yield Styled(run.status, run.status)
    if run.step is not None:
        yield f" {standing_at_step(run)}"
    if run.written_at:
        yield f", {ago(run.written_at)}"
    left = run_left(run, now())
    if left is not None:
        yield f", {about_left(left)}"
    note = note_of(run)
    if note and run.damage is None:
        yield f" ({note})"


def _time_of(step: StepView) -> str:
    return "" if step.seconds is None else took_exactly(step.seconds)


def _more(step: StepView, run: RunView) -> str:
    tries = f"{step.attempts} tries" if step.attempts > 1 else ""
    failure = run.failure
    broke = ""
    if failure is not None and failure.step == step.name and step.status != "done":
        broke = f"{type_shown(failure.type)} in its part {failure.part!r}"
    is_here = step.index == run.position and step.status != "done"
    progress = _amount_of(run.progress) if run.progress is not None and is_here else ""
    seconds = step_left(step, now())
    left = "" if seconds is None else about_left(seconds)
    return "  ".join(filter(None, (progress, tries, broke, left)))


def _amount_of(progress: ProgressView) -> str:
    """How far a step was, such as "1,240/2,000 rows, 12 s ago"."""
    return f"{amount_shown(progress.done, progress.total, progress.note)}, {ago(progress.at)}"


def print_failure(run: RunView, output: Output, how_much: str) -> None:
    """Print the traceback of what a run broke on.

    Args:
        run: The run.
        output: The output.
        how_much: "full", "last" for the exception alone, or "none".
    """
    failure = run.failure
    if failure is None or how_much == "none":
        return
    full = failure.traceback if how_much == "full" else ""
    output.block(full or f"{type_shown(failure.type)}: {failure.message}")
