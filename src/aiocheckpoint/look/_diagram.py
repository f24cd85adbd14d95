"""The steps of a flow, or of a run of it, drawn as text.

A sequence needs no layout engine. Steps are boxes, a loader stands above its step and a saver below
it, and a double line between two steps is a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._model.steps import name_of
from aiocheckpoint._texts import cut_middle, harmless, type_shown, width_of
from aiocheckpoint.look._records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiocheckpoint._model.steps import Step
    from aiocheckpoint.look._records import RunView, StepView

__all__ = ["ASCII", "LINES", "DiagramStep", "draw", "folded", "of_run", "of_steps", "of_views"]

MOST_STEPS = 100
"""A flow of more steps is folded."""
_SHOWN_AT_ENDS = 8
_SHOWN_AROUND = 3
_MOST_COLUMNS = 48


class Strokes(NamedTuple):
    """The characters that boxes and lines are made of."""

    top: str
    side: str
    bottom: str
    across: str
    snapshot: str
    into: str
    dots: str


LINES = Strokes("┌┐", "│", "└┘", "─", "═", "↓", "…")
ASCII = Strokes("++", "|", "++", "-", "=", "v", "...")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramStep(Record):
    """A step as it is drawn.

    Attributes:
        index: Its index from 0.
        name: Its name.
        loader, saver: Names of the functions, or None.
        badges: Its limits in words, such as "up to 5 tries".
        status: Its status in a run, as in `StepView`, or None for the step of a flow.
        notes: What is known of it in the run, in words.
    """

    index: int
    name: str
    loader: str | None = None
    saver: str | None = None
    badges: tuple[str, ...] = ()
    status: str | None = None
    notes: tuple[str, ...] = ()


def of_steps(steps: Sequence[Step]) -> tuple[DiagramStep, ...]:
    """Describe the steps of a flow."""
    return tuple(
        DiagramStep(
            index=index,
            name=step.name,
            loader=None if step.load is None else name_of(step.load.function),
            saver=None if step.save is None else name_of(step.save.function),
            badges=tuple(_badges(step)),
        )
        for index, step in enumerate(steps)
    )


def of_views(steps: Sequence[StepView]) -> tuple[DiagramStep, ...]:
    """Describe the steps of a flow of which a run is stored, without the run."""
    return tuple(DiagramStep(index=step.index, name=step.name) for step in steps)


def of_run(run: RunView, steps: Sequence[DiagramStep] = ()) -> tuple[DiagramStep, ...]:
    """Describe the steps of a run.

    Args:
        run: The run.
        steps: The steps of its flow, where its code is there. A step of the run with the index and
            name of one of them gets its loader, saver and badges.
    """
    known = {(step.index, step.name): step for step in steps}
    described: list[DiagramStep] = []
    for one in run.steps:
        step = known.get((one.index, one.name)) or DiagramStep(index=one.index, name=one.name)
        notes = tuple(_notes(run, one.name, one.seconds, one.attempts, one.status))
        described.append(replace(step, status=one.status, notes=notes))
    return tuple(described)


def folded(steps: Sequence[DiagramStep], at: int | None = None) -> tuple[DiagramStep, ...]:
    """Leave out steps of a flow of more than 100: its ends and the steps around one stay.

    Args:
        steps: The steps.
        at: Index of the step at which a run stands, or None.
    """
    if len(steps) <= MOST_STEPS:
        return tuple(steps)
    ends = {*range(_SHOWN_AT_ENDS), *range(len(steps) - _SHOWN_AT_ENDS, len(steps))}
    around = () if at is None else range(at - _SHOWN_AROUND, at + _SHOWN_AROUND + 1)
    shown = ends.union(around)
    return tuple(step for place, step in enumerate(steps) if place in shown)


def draw(
    steps: Sequence[DiagramStep],
    count: int | None = None,
    *,
    strokes: Strokes = LINES,
    sign: Callable[[str], str] | None = None,
) -> str:
    """Draw steps below each other.

    Args:
        steps: The steps. Where indexes are missing, a line says how many steps are left out.
        count: Number of all steps, or None where it is that of `steps`.
        strokes: The characters to draw with.
        sign: Gives the sign of a step's status.

    Returns:
        The lines, without a newline at the end. Names cannot steer a terminal.
    """
    labels = [_label(step, strokes, sign) for step in steps]
    width = max(map(width_of, labels), default=0)
    lines: list[str] = []
    index = 0
    for step, label in zip(steps, labels, strict=True):
        if step.index:
            lines.append(strokes.snapshot * (width + 4))
        lines += _left_out(step.index - index, strokes)
        lines += _box(step, label + " " * (width - width_of(label)), strokes)
        index = step.index + 1
    lines += _left_out((index if count is None else count) - index, strokes)
    if steps:
        lines.append(strokes.snapshot * (width + 4))
    return "\n".join(line.rstrip() for line in lines)


def _label(step: DiagramStep, strokes: Strokes, sign: Callable[[str], str] | None) -> str:
    name = cut_middle(harmless(step.name), _MOST_COLUMNS, strokes.dots)
    shown = "" if step.status is None or sign is None else f"{sign(step.status)} "
    return f"{shown}{step.index + 1}  {name}"


def _box(step: DiagramStep, label: str, strokes: Strokes) -> Iterator[str]:
    line = strokes.across * (width_of(label) + 2)
    beside = ", ".join((*step.badges, *step.notes))
    if step.loader is not None:
        yield f"  {strokes.into} {harmless(step.loader)}"
    yield f"{strokes.top[0]}{line}{strokes.top[1]}"
    yield f"{strokes.side} {label} {strokes.side}  {harmless(beside)}"
    yield f"{strokes.bottom[0]}{line}{strokes.bottom[1]}"
    if step.saver is not None:
        yield f"  {strokes.into} {harmless(step.saver)}"


def _left_out(number: int, strokes: Strokes) -> Iterator[str]:
    if number > 0:
        yield f"  {strokes.dots} {number} more"


def _badges(step: Step) -> Iterator[str]:
    if step.retry is not None and step.retry.attempts is not None:
        yield f"up to {step.retry.attempts} tries"
    elif step.retry is not None:
        yield "any number of tries"
    if step.run.timeout is not None:
        yield f"at most {step.run.timeout.seconds:g} s"
    if step.limiter is not None:
        yield "limited"


def _notes(
    run: RunView, name: str, seconds: float | None, attempts: int, status: str
) -> Iterator[str]:
    if status not in {"done", "waiting"}:
        yield status
    failure = run.failure
    if failure is not None and failure.step == name and status in {"failed", "cancelled"}:
        yield type_shown(failure.type)
    if seconds is not None:
        yield f"{seconds:.3f} s"
    if attempts > 1:
        yield f"{attempts} tries"
